"""Canary: files in every snapshot whose content a trusted place knows without asking the source. Pure.

components/source/repository/repository.sh plants them and has the same table. Never change one: the snapshots that stand hold them.
What they cannot show: a source whose root encrypts everything else and leaves them alone. Their names and kinds are those that get encrypted first.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping

FOLDER = "/var/lib/lastcopy/canary"
README = (
    "Made by lastcopy: nobody needs these files, and nothing may change them."
    " A change shows that somebody encrypts this host's files.\n"
)
# name -> kind, lines of the stream that it comes from
_FILES = {
    "README.txt": ("words", 1),
    "letter.txt": ("text", 16),
    "ledger.csv": ("text", 256),
    "report.pdf": ("binary", 512),
    "photo.jpg": ("binary", 2048),
    "archive/database.sql": ("text", 512),
}


def expected(repository_id: str) -> dict[str, bytes]:
    """Every file below the folder with its content."""
    return {name: _content(repository_id, name, *shape) for name, shape in _FILES.items()}


def _content(repository_id: str, name: str, kind: str, count: int) -> bytes:
    if kind == "words":
        return README.encode()
    lines = [
        hashlib.sha256(f"lastcopy canary {repository_id} {name} {number}\n".encode()).hexdigest()
        for number in range(1, count + 1)
    ]
    return (
        base64.b64decode("".join(lines))
        if kind == "binary"
        else "".join(f"{one}\n" for one in lines).encode()
    )


def compare(wanted: Mapping[str, bytes], found: Callable[[str], bytes | None]) -> tuple[list[str], list[str]]:
    """Names of the files that are missing, and of those that are not what they must be, byte by byte."""
    there = {name: found(name) for name in wanted}
    missing = [name for name, content in there.items() if content is None]
    return missing, [name for name, content in there.items() if content not in (None, wanted[name])]
