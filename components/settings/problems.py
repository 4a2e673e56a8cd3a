"""What a rule reports when it refuses a value, and the one error that contains every problem of a stack."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pulumi
from pydantic_core import PydanticCustomError

Loc = tuple[int | str, ...]
"""The place of a value: ("sources", 1, "paths") is ``lastcopy:sources[1].paths``."""

RULE = "lastcopy_rule"
UNKNOWN_KEY = "extra_forbidden"
TOO_SHORT = "too_short"
SECRET = "<secret>"  # noqa: S105 - marks a secret in an example; never a value


@dataclass(frozen=True, kw_only=True)
class Fix:
    """How to fix a value. Empty: set the key to its example; a secret is entered at a prompt.

    ``add`` is YAML to add at the place; ``remove`` removes what is ``at`` (below the place).
    """

    say: str = ""
    value: str | int | bool | None = None
    add: object = None
    remove: bool = False
    at: Loc = ()


@dataclass(frozen=True)
class Finding:
    """What is wrong with the value at one place. ``allowed`` empty: the key's description says what is allowed.

    ``kind``: which rule reports it: RULE for those of this project, otherwise the type of pydantic's error. ``what`` must not contain anything
    that could be secret: quote only with `quote_harmless`.
    """

    loc: Loc
    what: str
    allowed: str = ""
    fix: Fix = Fix()
    kind: str = RULE

    def below(self, loc: Loc) -> Finding:
        """The same finding, in a section that is itself at ``loc``."""
        return replace(self, loc=(*loc, *self.loc))


def refuse(what: str, *, allowed: str = "", fix: Fix | None = None) -> PydanticCustomError:
    """The error that a rule for one value raises. ``what`` must not contain anything that could be secret: quote only with `quote_harmless`."""
    return to_error(Finding((), what, allowed, fix or Fix()))


def to_error(finding: Finding) -> PydanticCustomError:
    """The finding as pydantic carries it to the end of the model; pydantic adds the place."""
    return PydanticCustomError(RULE, "{what}", {"what": finding.what, "finding": finding})


LONGEST_HARMLESS = 7
"""Every secret of a stack file has more characters than this (`Password`, `SecretAccessKey`, `TotpSecret`)."""

_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2}|:[0-9]{1,5})?")
_TIME = re.compile(
    r"(?:[A-Z][a-z]{2}(?:\.\.[A-Z][a-z]{2})? )?(?:(?:[0-9]{4}-|\*-)?[0-9*]{1,2}-[0-9*]{1,2} )?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
)
_VISIBLE = re.compile(r"[!-~]")


def quote_harmless(value: object, *, wrong_at: int | None = None) -> str:
    """The value in quotes where it cannot be a secret that was typed in the wrong place; otherwise its length and its first wrong character.

    Harmless is what is shorter than every secret, and what looks like an address or a time. A passphrase of plain words looks like a name.

    Args:
        value: What was refused.
        wrong_at: The index of the first character that the rule does not allow, where it can tell; otherwise the first that is not visible ASCII is named.
    """
    if not isinstance(value, str):
        return "the value"
    if value.isprintable() and (len(value) <= LONGEST_HARMLESS or _is_number_like(value)):
        return f'"{value}"'
    if wrong_at is None:
        wrong_at = next((at for at, one in enumerate(value) if not _VISIBLE.fullmatch(one)), None)
    wrong = "" if wrong_at is None else f"; character {wrong_at + 1} is {_name_character(value[wrong_at])}"
    return f"the value ({len(value)} characters{wrong})"


def _is_number_like(value: str) -> bool:
    if _ADDRESS.fullmatch(value) or _TIME.fullmatch(value):
        return True
    try:
        ipaddress.ip_interface(value)
    except ValueError:
        return False
    return "%" not in value  # behind it, an IPv6 address may hold any word


def _name_character(one: str) -> str:
    if one == " ":
        return "a space"
    return f"`{one}`" if one.isascii() and one.isprintable() else f"U+{ord(one):04X}"


def format_path(loc: Loc) -> str:
    """``lastcopy:sources[1].paths`` for ("sources", 1, "paths")."""
    text = "lastcopy:"
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += part if text.endswith(":") else f".{part}"
    return text


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One refused setting: its place, what is wrong with it, what is allowed, and how to fix it."""

    where: str
    what: str
    allowed: str
    fix: str

    def __str__(self) -> str:
        lines = [self.where, f"wrong:   {self.what}"]
        if self.allowed:
            lines.append(f"allowed: {self.allowed}")
        lines.append("fix:     " + self.fix.replace("\n", "\n         "))
        return "\n   ".join("\n   ".join(line.split("\n")) for line in lines)


class SettingsError(pulumi.RunError):
    """All problems at once, without the value of any secret. Pulumi prints it without a stack trace."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Sequence[Problem], *, stack_file: str) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        parts = [f"{count} in {stack_file}; nothing was changed."]
        parts += [f"{number}. {problem}" for number, problem in enumerate(self.problems, start=1)]
        super().__init__("\n\n".join(parts))
