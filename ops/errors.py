"""The project's error type as the verbs and their library use it, and how untrusted text is escaped."""

from __future__ import annotations

from collections.abc import Iterable

from toolchain.errors import LastcopyError

__all__ = ["LastcopyError", "escape_text", "raise_all"]


def escape_text(text: object, most: int = 200) -> str:
    """Text from a repository, storage or host, made safe for a terminal.

    Returns one line of at most ``most`` characters, with control characters and direction marks escaped.
    """
    safe = "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(text)
    )
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


def raise_all(problems: Iterable[LastcopyError]) -> None:
    """Raise all problems as one error; do nothing if there are none."""
    found = list(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise LastcopyError(
            f"{len(found)} problems; nothing was changed.\n" + "\n".join(str(one) for one in found),
            problems=found,
        )
