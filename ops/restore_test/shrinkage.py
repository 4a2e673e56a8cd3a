"""Shrinkage: whether a snapshot holds much less than that of a week before, by what restic noted in both (A9). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# As components/source/schedule/backup-contents judges each run.
PERCENT, LEAST_FILES, LEAST_BYTES = 50, 20, 10 << 20
# A drill a week tells each change once, also one that came the day after the last drill.
WEEK = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class SnapshotContents:
    """What one snapshot holds; ``at``: when the storage got it."""

    at: datetime
    paths: frozenset[str]
    files: int | None
    size: int | None


def read_contents(snapshot: Mapping[str, Any], at: datetime) -> SnapshotContents:
    """From restic's own words on a snapshot; before restic 0.17 it noted no numbers."""
    summary = snapshot.get("summary")
    numbers = summary if isinstance(summary, Mapping) else {}
    files, size = numbers.get("total_files_processed"), numbers.get("total_bytes_processed")
    paths = snapshot.get("paths")
    return SnapshotContents(
        at=at,
        paths=frozenset(str(path) for path in paths) if isinstance(paths, list) else frozenset(),
        files=files if type(files) is int else None,
        size=size if type(size) is int else None,
    )


def choose_reference(newest: SnapshotContents, others: Sequence[SnapshotContents]) -> SnapshotContents | None:
    """The one to compare with: the newest of a week before, else the oldest that there is."""
    earlier = sorted((one for one in others if one.at < newest.at), key=lambda one: one.at)
    old = [one for one in earlier if newest.at - one.at >= WEEK]
    return old[-1] if old else earlier[0] if earlier else None


def find_losses(newest: SnapshotContents, before: SnapshotContents, percent: int) -> list[str]:
    """What is much less, as sentences; nothing where ``percent`` is 0, except for paths that are gone."""
    gone = sorted(before.paths - newest.paths)
    found = [f"it does not hold {path}" for path in gone]
    if newest.paths == before.paths and percent:
        for what, now, then, least in (
            ("files", newest.files, before.files, LEAST_FILES),
            ("bytes", newest.size, before.size, LEAST_BYTES),
        ):
            if now is not None and then is not None and then - now >= max(least, then * percent / 100):
                found.append(f"it holds {now} {what}, {then} before")
    return found
