"""Checkpoints: signed notes that a repository was complete and good at a moment, so that older signs of an attack no longer count. Pure.

A rebuild hides and overwrites objects itself, and so does a trusted prune. Without a note, the next search for the last good moment would end
before them. A note is in the bucket, outside every source's prefix, and its signature needs the repository's password: the relay and the
storage do not have it, and a source cannot write there. An attacker who controls both a source and the storage can forge a note; then
give ``--at``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ops.history.versions import Entry, History, iso
from ops.storage.access import Access, RepositoryLocation

FOLDER = "_lastcopy/checkpoints"  # source names never begin with an underscore


def folder(access: RepositoryLocation, kind: str = FOLDER) -> str:
    """The folder of one repository's notes of a kind."""
    return f"{access.where.prefix}/{kind}/{access.record.name}/g{access.record.generation}/".lstrip("/")


def digest(shown: dict[str, Entry]) -> str:
    """The digest of the current objects without restic's locks: their names and content as the storage reports them."""
    rows = sorted(
        [name, entry.id, entry.etag, entry.size]
        for name, entry in shown.items()
        if not name.startswith("locks/")
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def sign(access: Access, *content: Any) -> str:
    """Sign the content of a note. The content must be serializable as JSON."""
    # Slow by design: a note must not offer a quick way to guess a weak password.
    key = hashlib.scrypt(
        access.password.get_secret_value().encode(),
        salt=f"lastcopy checkpoint {access.where.bucket}/{access.path}".encode(),
        n=2**14,
        r=8,
        p=1,
    )
    return hmac.new(key, json.dumps(content).encode(), "sha256").hexdigest()


def make(access: Access, history: History, why: str) -> tuple[str, dict[str, Any]]:
    """Key and content of a note that the current state is good. Its time is the storage's: that of the newest entry."""
    if history.last is None:
        raise AssertionError("an empty repository cannot have a checkpoint")
    at, state = history.last.astimezone(UTC).isoformat(), digest(history.live())
    note = {"format": 1, "at": at, "state": state, "why": why, "mac": sign(access, at, state, why)}
    return f"{folder(access)}{iso(history.last)}.json", note


def find_newest(
    access: Access, history: History, notes: Iterable[dict[str, Any]]
) -> tuple[datetime, str] | None:
    """Time and reason of the newest note that has our signature and still matches the storage's history at that time."""
    return _find_newest(
        history,
        notes,
        lambda note, at, state, why: hmac.compare_digest(
            sign(access, at, state, why), str(note.get("mac", ""))
        ),
    )


def find_newest_unverified(history: History, notes: Iterable[dict[str, Any]]) -> tuple[datetime, str] | None:
    """The same without the password, so without checking the signature: anyone who may write outside the sources' prefixes can forge one."""
    return _find_newest(history, notes, lambda *_: True)


def _find_newest(
    history: History,
    notes: Iterable[dict[str, Any]],
    ours: Callable[[dict[str, Any], str, str, str], bool],
) -> tuple[datetime, str] | None:
    found: list[tuple[datetime, str]] = []
    for note in notes:
        at, state, why = (str(note.get(name, "")) for name in ("at", "state", "why"))
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            continue
        if moment.tzinfo is None or (found and moment <= max(found)[0]):
            continue
        # Compare the digest first: it is quick, and rejects notes with which an attacker may flood us.
        if digest(history.view(moment)) == state and ours(note, at, state, why):
            found.append((moment, why))
    return max(found, default=None)
