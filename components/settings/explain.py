"""From pydantic's errors to problems that a person can repair: where, what, the allowed form, the fix."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from components.settings.model import Key, keys
from components.settings.problems import RULE, SECRET, Fix, Loc, Problem, path_text
from components.settings.stack import Settings

KEYS = keys(Settings)

_WHAT = {
    "missing": "is missing",
    "string_type": "is not text",
    "int_type": "is not a whole number (quotes make text of it)",
    "bool_type": "is not true or false (quotes make text of it)",
    "tuple_type": "is not a list",
    "model_type": "is not a map",
    "too_short": "is empty",
}


def key_at(loc: Loc) -> Key | None:
    """The key that stands at this place, None where no setting belongs."""
    found, below = None, KEYS
    for part in loc:
        if isinstance(part, int):
            continue
        found = below.get(part)
        if found is None:
            return None
        below = dict(found.children)
    return found


def _echoes_another(line: ErrorDetails, lines: list[ErrorDetails]) -> bool:
    """Whether the line says only that a place is empty where another one says why."""
    if line["type"] == RULE:
        return False
    size, loc = len(line["loc"]), line["loc"]
    if line["type"] == "too_short" and any(len(o["loc"]) > size and o["loc"][:size] == loc for o in lines):
        return True
    return any(other["type"] == RULE and other["loc"] == loc for other in lines)


def _place(line: ErrorDetails) -> tuple[int, int]:
    """Sorts by top-level key and, in a list, by entry."""
    top, entry = (*line["loc"], -1, -1)[:2]
    order = list(KEYS)
    return order.index(str(top)) if top in order else len(order), entry if isinstance(entry, int) else -1


class Explainer:
    """Words the problems of one stack file."""

    def __init__(self, stack_file: str) -> None:
        self.stack_file = stack_file
        stack = re.search(r"Pulumi\.([A-Za-z0-9._-]+)\.yaml$", stack_file)
        self._stack = ["--stack", stack[1]] if stack else []

    def problems(self, error: ValidationError) -> list[Problem]:
        """One problem per mistake, in the order of the keys."""
        lines = error.errors(include_url=False, include_input=False)
        told = [line for line in lines if not _echoes_another(line, lines)]
        return list(dict.fromkeys(self._problem(line) for line in sorted(told, key=_place)))

    def place(self, loc: Loc) -> str:
        """A place in the stack file, as problems name it."""
        return f"{self.stack_file}: {path_text(loc)}"

    def command(self, words: str) -> str:
        """A command of ours for this stack."""
        return " ".join([words, *self._stack])

    def problem(self, loc: Loc, what: str, allowed: str, fix: Fix) -> Problem:
        """A problem at this place with its repair spelled out."""
        return Problem(where=self.place(loc), what=what, allowed=allowed, fix=self._fix(loc, fix))

    def _problem(self, line: ErrorDetails) -> Problem:
        loc, kind, context = line["loc"], line["type"], line.get("ctx", {})
        key = key_at(loc)
        if kind == RULE:
            return self.problem(
                loc, context["what"], context["allowed"] or (key.description if key else ""), context["fix"]
            )
        if kind == "extra_forbidden":
            return self._unknown(loc)
        if kind in ("greater_than_equal", "less_than_equal"):
            what = f"is below {context['ge']}" if "ge" in context else f"is above {context['le']}"
        elif kind == "literal_error":
            what = "is not one of the words allowed here"
            return self.problem(loc, what, context["expected"].replace("'", ""), Fix())
        else:
            what = _WHAT.get(kind, "is not of the allowed form")
        return self.problem(loc, what, key.description if key else "", Fix())

    def _unknown(self, loc: Loc) -> Problem:
        """A key that nobody reads. Its value is never shown, and the key only where it is a plain word."""
        parent, name = loc[:-1], str(loc[-1])
        above = key_at(parent)
        known = list(above.children if above else KEYS)
        allowed = f"the keys {', '.join(known)}" if known else "no keys: write {}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z_-]{0,30}", name):
            edit = f"edit {self.stack_file}; a colon needs a space behind it"
            where = f"{self.stack_file}: {path_text(parent)}"
            return Problem(where=where, what="has a key that is not a plain word", allowed=allowed, fix=edit)
        close = difflib.get_close_matches(
            name.lower().replace("_", "").replace("-", ""), [k.lower() for k in known], n=1, cutoff=0.6
        )
        guess = next((key for key in known if close and key.lower() == close[0]), None)
        if guess is None:
            return self.problem(loc, "is not a setting", allowed, Fix(remove=True))
        what = f'is not a setting; did you mean "{guess}"?'
        return self.problem(
            loc,
            what,
            allowed,
            Fix(say=f"write `{guess}` instead of `{name}` in {self.stack_file}, or remove it:", remove=True),
        )

    def _fix(self, loc: Loc, fix: Fix) -> str:
        at = (*loc, *fix.at)
        key = key_at(at)
        say = fix.say or (key.how if key and not fix.remove else "")
        lines = [say] if say else []
        if fix.remove:
            lines.append(self._command("rm", at))
        if fix.add is not None:
            lines += self._yaml(loc, fix.add, "add to {}, below config:")
        elif fix.remove:
            pass
        elif key is not None and (key.secret or key.file):
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

    def _command(self, verb: str, loc: Loc, value: Any = None) -> str:
        """A `pulumi config` command. A secret's value is typed at a prompt or piped in, never an argument."""
        key = key_at(loc)
        words = ["pulumi config", verb]
        if len(loc) > 1:
            words.append("--path")
        if key is not None and key.secret and verb == "set":
            words.append("--secret")
        words.append(f"'{path_text(loc)}'" if len(loc) > 1 else path_text(loc))
        if value is not None:
            words.append(shlex.quote(str(value).lower() if isinstance(value, bool) else str(value)))
        words += self._stack
        if key is not None and key.file and verb == "set":
            words.append(f"< {key.file}")
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
    """The example without its secrets, and where those stand."""
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
