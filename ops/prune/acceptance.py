"""Acceptances: signed notes that snapshots are honest although their source's clock was wrong when it made them. Pure.

Without a note, such a snapshot would stay suspicious and block every prune for ever. A note names snapshots by their ids. An id is the SHA-256
of the content, so nothing else can take its place. The note is signed and kept like a checkpoint (ops/storage/checkpoint.py). It accepts
only the claimed time: the rules count by arrival anyway, and every other doubt about the snapshot remains.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from ops.history.versions import iso
from ops.storage import checkpoint
from ops.storage.access import Access

FOLDER = "_lastcopy/accepted"  # source names never begin with an underscore
MOST = 10_000  # snapshots in one note, so that it stays small enough to be read


def folder(access: Access) -> str:
    return checkpoint.folder(access, FOLDER)


def make(access: Access, ids: Collection[str], now: datetime) -> tuple[str, dict[str, Any]]:
    """Key and content of a note that accepts these snapshots. ``now``: the storage's time."""
    listed, at = sorted(ids), iso(now)
    note = {"format": 1, "at": at, "ids": listed, "mac": checkpoint.sign(access, "accepted", at, listed)}
    return f"{folder(access)}{at}.json", note


def read_accepted(access: Access, notes: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids that our notes accept. Notes without a valid signature are ignored."""
    found: set[str] = set()
    for note in notes:
        at, ids = str(note.get("at", "")), note.get("ids")
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            continue
        if found.issuperset(ids):
            continue  # it adds nothing, so skip the slow signature check
        if hmac.compare_digest(checkpoint.sign(access, "accepted", at, ids), str(note.get("mac", ""))):
            found.update(ids)
    return frozenset(found)
