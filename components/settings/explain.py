"""Turns findings into problems that a person can fix: place, mistake, allowed form, fix."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

import yaml

from components.settings.problems import (
    RULE,
    SECRET,
    TOO_SHORT,
    UNKNOWN_KEY,
    Finding,
    Fix,
    Loc,
    Problem,
    format_path,
)
from components.settings.reference import Key, list_keys
from components.settings.stack import Settings

KEYS = list_keys(Settings)


def find_key(loc: Loc) -> Key | None:
    """The key of this place, or None if no setting belongs there."""
    found: Key | None = None
    below: Mapping[str, Key] = KEYS
    for part in loc:
        if isinstance(part, int):
            continue
        found = below.get(part)
        if found is None:
            return None
        below = found.children
    return found


def _echoes_another(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Whether it only repeats that a value is missing or malformed, and another finding gives the reason."""
    if finding.kind == RULE:
        return False
    loc = finding.loc
    if finding.kind == TOO_SHORT:  # pydantic says so of a list whose entries were refused
        return any(len(other.loc) > len(loc) and other.loc[: len(loc)] == loc for other in findings)
    return any(other.kind == RULE and other.loc == loc for other in findings)


def _place(finding: Finding) -> tuple[int, ...]:
    """Sort by the order of the keys at every level; unknown keys come last."""
    found: list[int] = []
    below: Mapping[str, Key] = KEYS
    for part in finding.loc:
        if isinstance(part, int):
            found.append(part)
            continue
        found.append(list(below).index(part) if part in below else len(below))
        below = below[part].children if part in below else {}
    return tuple(found)


class Explainer:
    """Describes the problems of one stack file."""

    def __init__(self, stack_file: str) -> None:
        self.stack_file = stack_file
        stack = re.search(r"Pulumi\.([A-Za-z0-9._-]+)\.yaml$", stack_file)
        self._stack = ["--stack", stack[1]] if stack else []

    def problems(self, findings: Iterable[Finding]) -> list[Problem]:
        """One problem per mistake, in the order of the keys."""
        every = list(findings)
        told = [finding for finding in every if not _echoes_another(finding, every)]
        return list(dict.fromkeys(self.problem(finding) for finding in sorted(told, key=_place)))

    def place(self, loc: Loc) -> str:
        """A place in the stack file, as problems show it."""
        return f"{self.stack_file}: {format_path(loc)}"

    def command(self, words: str) -> str:
        """A lastcopy command for this stack."""
        return " ".join([words, *self._stack])

    def problem(self, finding: Finding) -> Problem:
        """The problem, with its allowed form and its fix."""
        if finding.kind == UNKNOWN_KEY:
            return self._unknown(finding.loc)
        key = find_key(finding.loc)
        return Problem(
            where=self.place(finding.loc),
            what=finding.what,
            allowed=finding.allowed or (key.description if key else ""),
            fix=self._fix(finding.loc, finding.fix),
        )

    def _unknown(self, loc: Loc) -> Problem:
        """An unknown key. Its value is never shown, and the key itself only if it is a plain word."""
        parent, name = loc[:-1], str(loc[-1])
        above = find_key(parent)
        known = list(above.children if above else KEYS)
        allowed = f"the keys {', '.join(known)}" if known else "no keys: write {}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z_-]{0,30}", name):
            edit = f"edit {self.stack_file}; a colon needs a space behind it"
            where = f"{self.stack_file}: {format_path(parent)}"
            return Problem(where=where, what="has a key that is not a plain word", allowed=allowed, fix=edit)
        close = difflib.get_close_matches(
            name.lower().replace("_", "").replace("-", ""), [k.lower() for k in known], n=1, cutoff=0.6
        )
        guess = next((key for key in known if close and key.lower() == close[0]), None)
        if guess is None:
            return self.problem(Finding(loc, "is not a setting", allowed, Fix(remove=True)))
        what = f'is not a setting; did you mean "{guess}"?'
        say = f"write `{guess}` instead of `{name}` in {self.stack_file}, or remove it:"
        return self.problem(Finding(loc, what, allowed, Fix(say=say, remove=True)))

    def _fix(self, loc: Loc, fix: Fix) -> str:
        at = (*loc, *fix.at)
        key = find_key(at)
        say = fix.say or (key.hint.how if key and not fix.remove else "")
        lines = [say] if say else []
        if fix.remove:
            lines.append(self._command("rm", at))
        if fix.add is not None:
            lines += self._yaml(loc, fix.add, "add to {}, below config:")
        elif fix.remove:
            pass
        elif key is not None and (key.secret or key.hint.file):
            lines.append(self._command("set", at))
        elif fix.value is not None:
            lines.append(self._command("set", at, fix.value))
        else:
            lines += self._example(at, key)
        return "\n".join(lines)

    def _example(self, loc: Loc, key: Key | None) -> list[str]:
        example = key.example if key else None
        if isinstance(example, list | tuple) and example and not isinstance(example[0], Mapping):
            first = loc if isinstance(loc[-1], int) else (*loc, 0)
            return [self._command("set", first, example[0])]
        if isinstance(example, list) and isinstance(loc[-1], int):
            example = example[0]
        if isinstance(example, str | int) and example != "":
            return [self._command("set", loc, example)]
        if example in (None, "", (), []):
            return [self._command("rm", loc)]
        return self._yaml(loc, example, "write in {}, below config, for the whole of this key:")

    def _command(self, verb: str, loc: Loc, value: str | int | bool | None = None) -> str:
        """A `pulumi config` command. A secret's value is entered at a prompt or piped in, and never an argument."""
        key = find_key(loc)
        words = ["pulumi config", verb]
        if len(loc) > 1:
            words.append("--path")
        if key is not None and key.secret and verb == "set":
            words.append("--secret")
        words.append(f"'{format_path(loc)}'" if len(loc) > 1 else format_path(loc))
        if value is not None:
            words.append(shlex.quote(str(value).lower() if isinstance(value, bool) else str(value)))
        words += self._stack
        if key is not None and key.hint.file and verb == "set":
            words.append(f"< {key.hint.file}")
        return " ".join(words)

    def _yaml(self, loc: Loc, value: object, how: str) -> list[str]:
        """The YAML to write at this place, with the commands for the secrets in it."""
        plain, secrets = _without_secrets(value)
        lines, indent = [how.format(self.stack_file)], 2
        for depth, part in enumerate(loc):
            if isinstance(part, int):
                lines.append(f"{' ' * indent}- # entry {part + 1}")
            else:
                lines.append(f"{' ' * indent}{'lastcopy:' if depth == 0 else ''}{part}:")
            indent += 2
        body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000).rstrip()
        if plain == {}:
            lines[-1] += " {}"
        else:
            lines += [f"{' ' * indent}{line}" for line in body.splitlines()]
        return [*lines, *(self._command("set", (*loc, *below)) for below in secrets)]


def _without_secrets(value: object) -> tuple[object, list[Loc]]:
    """The example without its secrets, and the places of the secrets."""
    if isinstance(value, Mapping):
        kept: dict[str, object] = {}
        found: list[Loc] = []
        for name, part in value.items():
            if part == SECRET:
                found.append((name,))
                continue
            kept[name], below = _without_secrets(part)
            found += [(name, *loc) for loc in below]
        return kept, found
    return value, []
