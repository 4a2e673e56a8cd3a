"""The project's one error type, here because every part imports this package and it imports none of them; and the errors of getting a tool."""

from __future__ import annotations

from collections.abc import Sequence


class LastcopyError(Exception):
    """Something was refused or failed; nothing was lost. Never contains a secret. Special cases are subclasses in their own modules.

    ``what`` is wrong, ``where`` (file, key, option, host), what is ``allowed`` there, and ``fix``: a command to run or a step to take.
    ``problems``: the single problems, if several were found at once.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        allowed: str = "",
        fix: str = "",
        problems: Sequence[LastcopyError] = (),
    ) -> None:
        self.what, self.where, self.allowed, self.fix = what, where, allowed, fix
        self.problems = tuple(problems) or (self,)
        super().__init__(str(self))

    def as_data(self) -> list[dict[str, str]]:
        """Every problem, for programs: ``what``, and ``where``, ``allowed`` and ``fix`` if they are known."""
        return [
            {name: text for name in ("what", "where", "allowed", "fix") if (text := getattr(one, name))}
            for one in self.problems
        ]

    def or_else(self, way: str) -> LastcopyError:
        """The same, with another way out."""
        fix = f"{self.fix}; {way}" if self.fix else way
        problems = () if self.problems == (self,) else self.problems
        return LastcopyError(self.what, where=self.where, allowed=self.allowed, fix=fix, problems=problems)

    def __str__(self) -> str:
        rows = (("where:  ", self.where), ("allowed:", self.allowed), ("fix:    ", self.fix))
        return "\n".join([self.what, *(f"  {label} {text}" for label, text in rows if text)])


class ToolError(LastcopyError):
    """A tool could not be found, verified or built. No other way to get it is tried."""


class Closed(Exception):
    """One way to get a tool is not possible, for the reason given; the next way is tried."""


def refused(tool: str, version: str, reason: str) -> ToolError:
    """The error for a release that could not be verified."""
    return ToolError(
        f"{tool} {version}: {reason}.\n"
        "Nothing was installed and no other way is tried: someone may have changed the release.",
        fix=f"run `lastcopy tools ensure {tool}` again; if it fails again, report it to the project",
    )
