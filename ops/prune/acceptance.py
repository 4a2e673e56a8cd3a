"""Acceptances: signed notes that snapshots are honest although their source's clock was wrong when it made them. Pure.

Without one such a snapshot would stay suspicious, and stop every prune, for ever. A note names snapshots by their ids, which are the SHA-256
of their content, so nothing else can be put in their place; it is signed and kept like checkpoints (ops/storage/checkpoint.py). What it
accepts is the claimed time alone: rules count by arrival in any case, and every other doubt about the same snapshot stays.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from ops.history.versions import iso
from ops.storage import checkpoint
from ops.storage.access import Access

FOLDER = "_lastcopy/accepted"  # no source's name begins with an underscore
MOST = 10_000  # snapshots in one note, which must stay a size that is read


def folder(access: Access) -> str:
    return checkpoint.folder(access, FOLDER)


def make(access: Access, ids: Collection[str], now: datetime) -> tuple[str, dict[str, Any]]:
    """Key and content of the note that these are accepted. ``now``: the storage's time."""
    listed, at = sorted(ids), iso(now)
    note = {"format": 1, "at": at, "ids": listed, "mac": checkpoint.seal(access, "accepted", at, listed)}
    return f"{folder(access)}{at}.json", note


def read_accepted(access: Access, notes: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids that notes of ours accept; a note that is not signed with the repository's password counts for nothing."""
    found: set[str] = set()
    for note in notes:
        at, ids = str(note.get("at", "")), note.get("ids")
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            continue
        if found.issuperset(ids):
            continue  # nothing new in it: not worth the signature's cost
        if hmac.compare_digest(checkpoint.seal(access, "accepted", at, ids), str(note.get("mac", ""))):
            found.update(ids)
    return frozenset(found)
