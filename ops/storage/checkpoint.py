"""Checkpoints: signed notes that a repository was whole and good at a moment, so that older signs of an attack no longer count. Pure.

A rebuild hides and overwrites by itself; so does a trusted prune. Without a note of it the next search for the last good moment would
end before them. A note is in the bucket, outside every source's prefix, and is valid only with the repository's password: the relay and
the storage do not know it, and a source cannot write there. Who has both a source and the storage can forge one; then give ``--at``.
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

FOLDER = "_lastcopy/checkpoints"  # no source's name begins with an underscore


def folder(access: RepositoryLocation, kind: str = FOLDER) -> str:
    """Where the notes of a kind stand for one repository."""
    return f"{access.where.prefix}/{kind}/{access.record.name}/g{access.record.generation}/".lstrip("/")


def digest(shown: dict[str, Entry]) -> str:
    """Of what stands, locks left out: names and content as the storage knows them."""
    rows = sorted(
        [name, entry.id, entry.etag, entry.size]
        for name, entry in shown.items()
        if not name.startswith("locks/")
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def seal(access: Access, *content: Any) -> str:
    """The signature of a note's content, which JSON can carry."""
    # Slow on purpose: the note must not become a quick way to guess a weak password.
    key = hashlib.scrypt(
        access.password.get_secret_value().encode(),
        salt=f"lastcopy checkpoint {access.where.bucket}/{access.path}".encode(),
        n=2**14,
        r=8,
        p=1,
    )
    return hmac.new(key, json.dumps(content).encode(), "sha256").hexdigest()


def make(access: Access, history: History, why: str) -> tuple[str, dict[str, Any]]:
    """Key and content of the note that what stands now is good. Its time is the storage's: that of its newest entry."""
    if history.last is None:
        raise AssertionError("an empty repository is no checkpoint")
    at, state = history.last.astimezone(UTC).isoformat(), digest(history.live())
    note = {"format": 1, "at": at, "state": state, "why": why, "mac": seal(access, at, state, why)}
    return f"{folder(access)}{iso(history.last)}.json", note


def newest(access: Access, history: History, notes: Iterable[dict[str, Any]]) -> tuple[datetime, str] | None:
    """Time and reason of the newest note that is ours and still fits what the storage remembers of that time."""
    return _newest(
        history,
        notes,
        lambda note, at, state, why: hmac.compare_digest(
            seal(access, at, state, why), str(note.get("mac", ""))
        ),
    )


def newest_unproven(history: History, notes: Iterable[dict[str, Any]]) -> tuple[datetime, str] | None:
    """The same without the password, so without proof of who wrote it: whoever may write beside the sources' rooms can make one."""
    return _newest(history, notes, lambda *_: True)


def _newest(
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
        # The digest first: it is quick, and refuses what an attacker floods us with.
        if digest(history.view(moment)) == state and ours(note, at, state, why):
            found.append((moment, why))
    return max(found, default=None)
