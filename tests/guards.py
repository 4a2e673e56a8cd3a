"""The process that removes a private folder when its verb was killed (ops/private_folder.py)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.waiting import wait_until


def guards_of(folder: Path) -> list[int]:
    """Process ids: the folder is in their environment, and each leads a session of its own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            given = (process / "environ").read_bytes().split(b"\0")
            if f"FOLDER={folder}".encode() in given and os.getsid(pid) == pid:
                found.append(pid)
        except OSError:
            continue  # ended while we looked
    return found


def guard_of(folder: Path) -> int:
    """The one that there must be; the kernel shows a program's environment a moment after its start."""
    found: list[int] = []

    def seen() -> bool:
        found[:] = guards_of(folder)
        return len(found) == 1

    wait_until(seen, 10, f"{folder} has no guard", 0.01)
    return found[0]
