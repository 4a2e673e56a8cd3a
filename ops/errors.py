"""The project's error type as the verbs and their library use it; hostile words are escaped."""

from __future__ import annotations

from collections.abc import Iterable

from toolchain.errors import LastcopyError

__all__ = ["LastcopyError", "escape_text", "raise_all"]


def escape_text(text: object, most: int = 200) -> str:
    """Text of a repository or storage, fit for a terminal: one line, what could move the cursor or turn the writing escaped, bounded."""
    safe = "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(text)
    )
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


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
