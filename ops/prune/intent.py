"""Notes of intent: written before a prune hides anything, so that the next run recognizes the changes of an interrupted one. Pure.

They are signed and kept like checkpoints (ops/storage/checkpoint.py). A note excuses delete markers that are younger than itself, on the
snapshots that it names and on data and index, which a prune hides afterwards. They are excused only for a run that then reads and checks
everything. Anything else that was hidden or overwritten remains a sign of an attack. A later checkpoint ends the note.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.history.timeline import Act, Kind
from ops.history.versions import History, area, iso
from ops.storage import checkpoint
from ops.storage.access import Access

FOLDER = "_lastcopy/prunes"  # source names never begin with an underscore


@dataclass(frozen=True, kw_only=True)
class Intent:
    """``at``: the time of the storage's newest entry when it was written. ``ids``: the snapshots to be hidden."""

    at: datetime
    ids: frozenset[str]

    def excuses(self, act: Act) -> bool:
        if act.kind is not Kind.DELETED or act.entry.at <= self.at:
            return False
        name = act.entry.name
        return area(name) in ("data", "index") or name in {f"snapshots/{one}" for one in self.ids}


def folder(access: Access) -> str:
    return checkpoint.folder(access, FOLDER)


def make(access: Access, history: History, drops: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Key and content of a note that these snapshots are going to be hidden."""
    if history.last is None:
        raise AssertionError("there is nothing to prune")
    at, state, ids = (
        history.last.astimezone(UTC).isoformat(),
        checkpoint.digest(history.live()),
        sorted(drops),
    )
    mac = checkpoint.sign(access, "prune", at, state, ids)
    return f"{folder(access)}{iso(history.last)}.json", {
        "format": 1,
        "at": at,
        "state": state,
        "ids": ids,
        "mac": mac,
    }


def find_unfinished(
    access: Access, history: History, since: datetime | None, notes: Iterable[dict[str, Any]]
) -> tuple[Intent, ...]:
    """Our notes that match the storage's history at their time and were followed by no checkpoint."""
    found = []
    for note in notes:
        at, state, ids = str(note.get("at", "")), str(note.get("state", "")), note.get("ids")
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            continue
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            continue
        if moment.tzinfo is None or (since is not None and moment < since):
            continue
        # Compare the digest first: it is quick, and rejects notes with which an attacker may flood us.
        if checkpoint.digest(history.view(moment)) != state:
            continue
        if hmac.compare_digest(checkpoint.sign(access, "prune", at, state, ids), str(note.get("mac", ""))):
            found.append(Intent(at=moment, ids=frozenset(ids)))
    return tuple(found)
