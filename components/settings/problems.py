"""What a rule says when it refuses a value, and the one error that carries every problem of a stack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pydantic_core import PydanticCustomError

Loc = tuple[int | str, ...]
"""Where a value stands: ("sources", 1, "paths") is ``lastcopy:sources[1].paths``."""

Finding = tuple[Loc, PydanticCustomError]

RULE = "lastcopy_rule"
SECRET = "<secret>"  # noqa: S105 - the mark of a secret in an example; never a value


@dataclass(frozen=True, kw_only=True)
class Fix:
    """How to repair a value. Empty: set the key to its example; a secret is typed at a prompt.

    ``add`` is YAML to write at the place beside what stands there; ``remove`` takes out what stands ``at`` (below the place).
    """

    say: str = ""
    value: str | int | bool | None = None
    add: object = None
    remove: bool = False
    at: Loc = ()


def refuse(what: str, *, allowed: str = "", fix: Fix | None = None) -> PydanticCustomError:
    """The error a rule raises. ``what`` must hold nothing that could be secret: quote with `shown` only."""
    return PydanticCustomError(RULE, "{what}", {"what": what, "allowed": allowed, "fix": fix or Fix()})


def finding(loc: Loc, what: str, allowed: str, fix: Fix | None = None) -> Finding:
    """What a rule over several keys says of one place."""
    return loc, refuse(what, allowed=allowed, fix=fix)


_HARMLESS = re.compile(r"[A-Za-z0-9 ._:/,*@+=~-]{1,48}")
_DENSE = re.compile(r"[A-Za-z0-9+/=]{20,}")


def shown(value: object) -> str:
    """The value in quotes where it is short and plain; otherwise words that repeat nothing of it."""
    if isinstance(value, str) and _HARMLESS.fullmatch(value) and not _DENSE.search(value):
        return f'"{value}"'
    return "the value"


def path_text(loc: Loc) -> str:
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
    """One refused setting: where it stands, what is wrong with it, what is allowed, and what repairs it."""

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
    """Every problem at once, never a secret's value. Pulumi prints it without a stack trace."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Sequence[Problem], *, stack_file: str) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        parts = [f"{count} in {stack_file}; nothing was changed."]
        parts += [f"{number}. {problem}" for number, problem in enumerate(self.problems, start=1)]
        super().__init__("\n\n".join(parts))
