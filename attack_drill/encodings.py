"""The forms in which a program or a shell may write a secret."""

from __future__ import annotations

import base64
import urllib.parse

SHORTEST = 12  # characters; a shorter form could be found by chance


def encodings(secret: str) -> list[str]:
    """The secret as it is, reversed, in hex, in a URL, and in base64 at each offset that it can have in a longer text.

    The base64 forms leave out the characters that depend on what comes before or after the secret.
    """
    raw = secret.encode()
    found = [secret, secret[::-1], raw.hex(), raw.hex().upper(), urllib.parse.quote(secret, safe="")]
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode()
        found.append(coded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6])
    return sorted({form for form in found if len(form) >= SHORTEST})
