"""Removes a protection from a text of the program. A sabotage that changes nothing would prove nothing."""

from __future__ import annotations


def weaken(text: str, old: str, new: str = "", *, most: int = -1) -> str:
    """The text with ``new`` in place of ``old``, which it must contain. ``most``: in at most this many places; everywhere by default."""
    assert old in text, f"nothing to sabotage: there is no {old!r}"
    return text.replace(old, new, most)
