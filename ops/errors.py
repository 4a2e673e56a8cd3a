"""One error type: what is wrong, where, what is allowed, what fixes it. Never holds a secret; hostile words are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def escape_text(text: object, most: int = 200) -> str:
    """Text of a repository or storage, fit for a terminal: one line, what could move the cursor or turn the writing escaped, bounded."""
    safe = "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(text)
    )
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


class LastcopyError(Exception):
    """Something was refused or failed; nothing was lost by it. The one type for all of day 2: what differs has a subclass beside its subject.

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

    def __str__(self) -> str:
        rows = (("where:  ", self.where), ("allowed:", self.allowed), ("fix:    ", self.fix))
        return "\n".join([self.what, *(f"  {label} {text}" for label, text in rows if text)])


def raise_all(problems: Iterable[LastcopyError]) -> None:
    """Raise what was found, all at once; nothing when nothing was."""
    found = list(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise LastcopyError(
            f"{len(found)} problems; nothing was changed.\n" + "\n".join(str(one) for one in found),
            problems=found,
        )
