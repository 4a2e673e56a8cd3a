"""Guards every file that is rendered for a host: no value can add a line or an option to the file.

Settings have already validated each value, with a better error, and their rules are not repeated here. This is a second check, at
the point where text becomes a file that programs of root read. It also covers values that were read from a host, which an attacker may
control, and would still hold if a rule of the settings were loosened.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_WORD = re.compile(r"[A-Za-z0-9_@.:/+][A-Za-z0-9_@.:/+-]*")


def require_name(text: str, what: str) -> str:
    """Return the text if it is a word that can be part of an account name and of a path. The ValueError names ``what``, never the text."""
    return _require(_NAME, text, what)


def require_word(text: str, what: str) -> str:
    """Return the text if it is a single word to a shell, to sshd and to systemd, and not an option."""
    return _require(_WORD, text, what)


def require_line(text: str, what: str) -> str:
    """Return the text if it is not empty and a single line to every program that splits lines."""
    if not text or any(
        ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\ufeff" for char in text
    ):
        raise ValueError(f"{what} is empty or holds a line break or a control character")
    return text


def _require(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{what} is not of the allowed form")
    return text
