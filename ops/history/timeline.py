"""The timeline of a repository, and its last good moment: just before the first event that restic behind this relay never causes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from ops.history.versions import LOCKS, TICK, Entry, History, area, iso

GAP = timedelta(minutes=10)  # acts of one kind that are closer together are shown as one event
KEY_BURST, KEY_WINDOW = 5, timedelta(hours=1)  # restic tries at most 20 keys; people add them one at a time
SNAPSHOT_BURST, SNAPSHOT_WINDOW = 20, timedelta(minutes=10)
SNAPSHOTS_A_DAY = 50  # a backup every half hour; only prune checks this


class Kind(Enum):
    """The kind of an act, with the words that describe it."""

    BACKUP = "written by backups"
    DELETED = "hidden by delete markers"
    OVERWRITTEN = "overwritten"
    FOREIGN = "written under names that restic never writes"
    EMPTY = "written empty, which restic never does"
    BACKDATED = "given a date that is not that of their writing"
    KEYS = "added in a burst of keys"
    SNAPSHOTS = "added in a burst of snapshots"
    RESTORED = "brought back with their old content"


DESTRUCTIVE = frozenset({Kind.DELETED, Kind.OVERWRITTEN, Kind.BACKDATED})
# No backup does these: the moment before the first of them is the last one that is not suspect.
SIGNS = DESTRUCTIVE | {Kind.FOREIGN, Kind.EMPTY, Kind.KEYS}


@dataclass(frozen=True, kw_only=True)
class Act:
    kind: Kind
    entry: Entry


@dataclass(frozen=True, kw_only=True)
class Event:
    """Acts of one kind close together in time."""

    kind: Kind
    first: datetime
    last: datetime
    counts: tuple[tuple[str, int], ...]  # area -> number of objects
    size: int  # bytes written
    names: tuple[str, ...]  # examples, as the storage has them: escape before printing

    @property
    def count(self) -> int:
        return sum(number for _, number in self.counts)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """``at``: the moment to go back to, or None. ``fallbacks``: earlier moments, oldest first, each right after a snapshot arrived."""

    at: datetime | None
    why: str
    sign: Event | None
    fallbacks: tuple[datetime, ...] = ()


def find_acts(history: History) -> list[Act]:
    """Every act outside locks/, oldest first. Restic's locks come and go by design."""
    found = [
        act
        for name, entries in history.names.items()
        if not name.startswith(LOCKS)
        for act in _acts_on(entries)
    ]
    found.sort(key=lambda act: (act.entry.at, act.entry.name))
    found = list(_bursts(found, "keys", Kind.KEYS, KEY_BURST, KEY_WINDOW))
    return list(_bursts(found, "snapshots", Kind.SNAPSHOTS, SNAPSHOT_BURST, SNAPSHOT_WINDOW))


def _acts_on(entries: Iterable[Entry]) -> Iterator[Act]:
    contents: set[tuple[int, str]] = set()  # a set, because an attacker can write one name a million times
    newest: datetime | None = None
    hidden = False
    for entry in entries:
        if entry.marker:
            if newest is not None and not hidden:
                yield Act(kind=Kind.DELETED, entry=entry)
            hidden = True
            continue
        if newest is None and not entry.misdated:
            yield Act(kind=_first_write(entry), entry=entry)
        elif entry.misdated or (newest is not None and entry.at < newest):
            yield Act(kind=Kind.BACKDATED, entry=entry)
        elif (entry.size, entry.etag) in contents:
            yield Act(kind=Kind.RESTORED, entry=entry)
        else:
            yield Act(kind=Kind.OVERWRITTEN, entry=entry)
        contents.add((entry.size, entry.etag))
        newest = entry.at if newest is None else max(newest, entry.at)
        hidden = False


def _first_write(entry: Entry) -> Kind:
    if area(entry.name) == "other":
        return Kind.FOREIGN
    return Kind.BACKUP if entry.size else Kind.EMPTY


def _bursts(found: list[Act], where: str, kind: Kind, least: int, window: timedelta) -> Iterator[Act]:
    """The same acts, but plain writes to ``where`` become ``kind`` if ``least`` or more of them fall into one window."""
    plain = [i for i, act in enumerate(found) if act.kind is Kind.BACKUP and area(act.entry.name) == where]
    if kind is Kind.KEYS:
        plain = plain[1:]  # the first key is from `restic init`; an attack may come minutes later
    dense: set[int] = set()
    start = marked = 0
    for end, index in enumerate(plain):
        while found[index].entry.at - found[plain[start]].entry.at > window:
            start += 1
        if end - start + 1 >= least:
            dense.update(plain[max(start, marked) : end + 1])  # each once: linear time
            marked = end + 1
    for i, act in enumerate(found):
        yield Act(kind=kind, entry=act.entry) if i in dense else act


def group_events(found: Iterable[Act]) -> list[Event]:
    """Group the acts into events, in the order in which they begin."""
    open_: dict[Kind, list[Act]] = {}
    done: list[Event] = []
    for act in found:
        group = open_.get(act.kind)
        if group and act.entry.at - group[-1].entry.at > GAP:
            done.append(_event(group))
            group = None
        if not group:
            open_[act.kind] = [act]
        else:
            group.append(act)
    done.extend(_event(group) for group in open_.values())
    return sorted(done, key=lambda event: (event.first, event.kind.value))


def _event(group: list[Act]) -> Event:
    counts = Counter(area(act.entry.name) for act in group)
    return Event(
        kind=group[0].kind,
        first=group[0].entry.at,
        last=group[-1].entry.at,
        counts=tuple(sorted(counts.items())),
        size=sum(act.entry.size for act in group),
        names=tuple(dict.fromkeys(act.entry.name for act in group))[:3],
    )


def propose(history: History, since: datetime | None = None) -> Proposal:
    """The last good moment. ``since``: a moment that is known to be good; earlier signs do not count."""
    found = find_acts(history)
    signs = [act for act in found if act.kind in SIGNS and (since is None or act.entry.at > since)]
    if history.last is None:
        return Proposal(at=None, why="the storage holds no history at this place", sign=None)
    if not signs:
        why = "nothing was hidden or overwritten, and there is no write that restic would not make"
        return Proposal(at=history.last, why=why, sign=None, fallbacks=_fallbacks(history, history.last))
    # Only what happened from the first sign on: earlier acts of its kind may be older than `since`.
    (sign, *_) = group_events(act for act in signs if act.kind is signs[0].kind)
    at = sign.first - TICK
    if "config" not in history.view(at):
        why = (
            f"there was no complete repository before {iso(sign.first)}, when objects were {sign.kind.value}"
        )
        return Proposal(at=None, why=why, sign=sign)
    why = f"just before {iso(sign.first)}, when the first of {sign.count} objects were {sign.kind.value}"
    return Proposal(at=at, why=why, sign=sign, fallbacks=_fallbacks(history, at))


def _fallbacks(history: History, before: datetime) -> tuple[datetime, ...]:
    times = {entry.at for name, entry in history.view(before).items() if area(name) == "snapshots"}
    return tuple(sorted(time for time in times if time < before))
