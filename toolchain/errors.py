"""The project's one error type, here because every part imports this package and it imports none of them; and what a tool's ways raise."""

from __future__ import annotations

from collections.abc import Sequence


class LastcopyError(Exception):
    """Something was refused or failed; nothing was lost by it. Never holds a secret. What differs is a subclass beside its subject.

    ``what`` is wrong, ``where`` (file, key, option, host), what is ``allowed`` there, and ``fix``: a command or a step that a person can take.
    ``problems``: where several were found at once, each of them.
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
        """Every problem for a program: ``what``, and ``where``, ``allowed`` and ``fix`` where they are known."""
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
    """A tool could not be found, verified or built. No other way to it is tried."""


class Closed(Exception):
    """One way to a tool is not possible, for the reason given; the next way is tried."""


def refused(tool: str, version: str, reason: str) -> ToolError:
    """The error for a release that could not be verified."""
    return ToolError(
        f"{tool} {version}: {reason}.\n"
        "Nothing was installed and no other way is tried: someone may have changed the release.",
        fix=f"run `lastcopy tools ensure {tool}` again; if it fails again, report it to the project",
    )
