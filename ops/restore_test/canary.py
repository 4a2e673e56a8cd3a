"""Canary: files in every snapshot whose content a trusted place knows without asking the source. Pure.

components/source/repository/repository.sh creates them from the same table. Never change a file: existing snapshots contain it. They cannot
reveal an attacker who encrypts everything except them. Their names and types are those that ransomware encrypts first.
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
# name -> kind, number of lines of the stream from which it is made
_FILES = {
    "README.txt": ("words", 1),
    "letter.txt": ("text", 16),
    "ledger.csv": ("text", 256),
    "report.pdf": ("binary", 512),
    "photo.jpg": ("binary", 2048),
    "archive/database.sql": ("text", 512),
}


def expected(repository_id: str) -> dict[str, bytes]:
    """Every canary file with its content, by its path below the folder."""
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
    """Compare byte by byte. Returns the names of missing files and the names of changed ones."""
    there = {name: found(name) for name in wanted}
    missing = [name for name, content in there.items() if content is None]
    return missing, [name for name, content in there.items() if content not in (None, wanted[name])]
