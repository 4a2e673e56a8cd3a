"""The guard of every file that is rendered for a host: whatever a value holds, it adds no line and no option to the file.

Settings have validated each value where it entered, with a better error, and their rules are not repeated here. This is the second fence, at
the boundary where text becomes a file that root's programs read: it holds where a value was read from a host that may be an attacker's, and
where a rule of the settings is ever loosened.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_WORD = re.compile(r"[A-Za-z0-9_@.:/+][A-Za-z0-9_@.:/+-]*")


def require_name(text: str, what: str) -> str:
    """The text, if it is a word that can be part of an account and of a path. ValueError names ``what``, never the text."""
    return _require(_NAME, text, what)


def require_word(text: str, what: str) -> str:
    """The text, if it is one word to a shell, to sshd and to systemd, and no option."""
    return _require(_WORD, text, what)


def require_line(text: str, what: str) -> str:
    """The text, if it is one line to every program that splits lines, and not empty."""
    if not text or any(
        ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\ufeff" for char in text
    ):
        raise ValueError(f"{what} is empty or holds a line break or a control character")
    return text


def _require(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{what} is not of the allowed form")
    return text
