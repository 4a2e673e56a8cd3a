"""Shrinkage: whether a snapshot contains much less than the one of a week before, according to restic's own figures (A9). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# The same thresholds as in components/source/schedule/backup-contents, which judges each run.
PERCENT, LEAST_FILES, LEAST_BYTES = 50, 20, 10 << 20
# With one test a week, each change is reported once, also if it came the day after the last test.
WEEK = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class SnapshotContents:
    """What one snapshot contains. ``at``: when the storage got it."""

    at: datetime
    paths: frozenset[str]
    files: int | None
    size: int | None


def read_contents(snapshot: Mapping[str, Any], at: datetime) -> SnapshotContents:
    """Read restic's summary of a snapshot. Before restic 0.17 it contained no figures."""
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
    """The snapshot to compare with: the newest that is at least a week older, or else the oldest one."""
    earlier = sorted((one for one in others if one.at < newest.at), key=lambda one: one.at)
    old = [one for one in earlier if newest.at - one.at >= WEEK]
    return old[-1] if old else earlier[0] if earlier else None


def find_losses(newest: SnapshotContents, before: SnapshotContents, percent: int) -> list[str]:
    """What is much less, as sentences. With ``percent`` 0, only missing paths are reported."""
    gone = sorted(before.paths - newest.paths)
    found = [f"it does not contain {path}" for path in gone]
    if newest.paths == before.paths and percent:
        for what, now, then, least in (
            ("files", newest.files, before.files, LEAST_FILES),
            ("bytes", newest.size, before.size, LEAST_BYTES),
        ):
            if now is not None and then is not None and then - now >= max(least, then * percent / 100):
                found.append(f"it contains {now} {what}, {then} before")
    return found
