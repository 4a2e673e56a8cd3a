"""Finds snapshots whose claims do not fit how they arrived: reasons for a person to look before anything is dropped. Pure.

A snapshot claims whatever its writer likes; the storage knows when it arrived. Nothing here can tell a poisoned backup from a good one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from ops.errors import escape_text
from ops.history.timeline import SNAPSHOT_BURST, SNAPSHOT_WINDOW, SNAPSHOTS_A_DAY
from ops.history.versions import iso

LONGEST_BACKUP = timedelta(hours=48)
CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A live snapshot: when the storage got it, and what it claims. ``claimed`` None: it claims no readable time."""

    id: str
    arrived: datetime
    readable: bool = True
    claimed: datetime | None = None
    host: str = ""
    paths: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        return self.id[:8]


@dataclass(frozen=True, kw_only=True)
class PlausibleLimits:
    """What is plausible. ``hosts``: names that the source has had; if empty, the host name of its first snapshot counts."""

    longest_backup: timedelta = LONGEST_BACKUP
    most_a_day: int = SNAPSHOTS_A_DAY
    hosts: tuple[str, ...] = ()


def read_snapshots(
    stored: Mapping[str, datetime], listed: Iterable[Mapping[str, Any]]
) -> tuple[Snapshot, ...]:
    """Join the live snapshots (id -> arrival) with what restic could read of them. Oldest arrival first."""
    known = {str(one["id"]): one for one in listed}
    found = [_read(name, at, known.get(name)) for name, at in stored.items()]
    return tuple(sorted(found, key=lambda one: (one.arrived, one.id)))


def _read(name: str, at: datetime, listed: Mapping[str, Any] | None) -> Snapshot:
    if listed is None:
        return Snapshot(id=name, arrived=at, readable=False)
    paths = listed.get("paths") or ()
    return Snapshot(
        id=name,
        arrived=at,
        claimed=_time(str(listed.get("time", ""))),
        host=str(listed.get("hostname", "")),
        paths=tuple(sorted(str(path) for path in paths)) if isinstance(paths, list) else (),
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def find_reasons(
    snapshots: Sequence[Snapshot],
    limits: PlausibleLimits,
    aside: Collection[str] = (),
    accepted: Collection[str] = (),
) -> dict[str, list[str]]:
    """The reasons for each suspicious snapshot: id -> reasons. ``aside``: snapshots that a person has examined; they set no precedent for others.

    ``accepted``: those whose claimed time a person has accepted (ops/prune/acceptance.py); other reasons about them remain.
    """
    first = next((one.host for one in snapshots if one.readable and one.id not in aside), None)
    hosts = limits.hosts or ((first,) if first is not None else ())
    found: dict[str, list[str]] = {}
    for one in snapshots:
        clock = () if one.id in accepted else (judge_clock(one, limits),)
        why = [*(reason for reason in clock if reason), *_own(one, hosts)]
        if why:
            found[one.id] = why
    for window, most, word in (
        (SNAPSHOT_WINDOW, SNAPSHOT_BURST, "10 minutes"),
        (timedelta(days=1), limits.most_a_day, "24 hours"),
    ):
        for index, number in _crowds(snapshots, window, most).items():
            found.setdefault(snapshots[index].id, []).append(
                f"one of a burst of {number}: more than {most} within {word}"
            )
    return found


def judge_clock(one: Snapshot, limits: PlausibleLimits) -> str | None:
    """What is suspicious about the claimed time, or None."""
    if one.claimed is None:
        return None
    if one.claimed > one.arrived + CLOCKS_DIFFER:
        return f"claims {_day(one.claimed)}, which was in the future when it arrived"
    if one.claimed < one.arrived - limits.longest_backup:
        hours = limits.longest_backup.total_seconds() / 3600
        return f"claims {_day(one.claimed)}, more than {hours:g} h before it arrived"
    return None


def _own(one: Snapshot, hosts: Sequence[str]) -> Iterable[str]:
    if not one.readable:
        yield "restic cannot read it"
        return
    if one.claimed is None:
        yield "its own time cannot be read"
    if one.host not in hosts:
        known = ", ".join(escape_text(host, 40) for host in hosts)
        yield f"claims to be from host {escape_text(one.host, 40)}, not {known}"


def _day(at: datetime) -> str:
    try:
        return iso(at.replace(microsecond=0))
    except OverflowError:  # the last days of the calendar, in another time zone
        return escape_text(at, 40)


def _crowds(snapshots: Sequence[Snapshot], window: timedelta, most: int) -> dict[int, int]:
    """Snapshots that belong to a burst of more than ``most`` within one window: index -> size of the burst. Takes linear time."""
    dense = [False] * len(snapshots)
    start = marked = 0
    for end, one in enumerate(snapshots):
        while one.arrived - snapshots[start].arrived > window:
            start += 1
        if end - start + 1 > most:
            for index in range(max(start, marked), end + 1):
                dense[index] = True
            marked = end + 1
    found: dict[int, int] = {}
    for is_dense, run in groupby(range(len(snapshots)), key=lambda index: dense[index]):
        crowd = list(run)
        if is_dense:
            found.update(dict.fromkeys(crowd, len(crowd)))
    return found


def find_new_paths(snapshots: Sequence[Snapshot]) -> frozenset[str]:
    """The ids of snapshots with paths that no earlier one has, except the first. This is a hint, not a suspicion: settings change."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for one in snapshots:
        if one.readable and one.paths not in seen:
            if seen:
                found.append(one.id)
            seen.add(one.paths)
    return frozenset(found)
