"""Take a protection out of a text of the program. A sabotage that changes nothing would prove nothing."""

from __future__ import annotations


def weaken(text: str, old: str, new: str = "", *, most: int = -1) -> str:
    """The text with ``new`` in the place of ``old``, which it must hold. ``most``: at so many places; everywhere by default."""
    assert old in text, f"nothing to sabotage: there is no {old!r}"
    return text.replace(old, new, most)
