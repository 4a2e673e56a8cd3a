"""Dates: on a storage that lets a writer choose a version's date, the end of its lock tells when it was written. Pure.

minio takes a version's LastModified from a header of whoever may write. The end of the lock is another matter: a version gets the bucket's
default retention from the storage's own clock, and another one only from who may set retention, which no source's identity may (R5). A lock that
break-glass extended looks like a later write; the program extends none.
Delete markers carry no lock: what is dated after the newest signed note counts as hidden last of all, so that no marker reaches into the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from ops.recover.history import LOCKS, Entry, History

# The lock counts from the beginning of an upload, the date from its end, both by one clock: an honest date is never earlier, and later by no more
# than an upload takes. Who overwrites a version within EARLY of its writing can still pass for it; every version stays all the same.
EARLY, LATE = timedelta(seconds=2), timedelta(days=1)


def written(history: History, until: Mapping[str, datetime], lock: timedelta) -> History:
    """The history by the times at which its versions were written. ``until``: version id -> end of its lock; ``lock``: the default retention."""
    known: list[Entry] = []
    for entries in history.names.values():
        for entry in entries:
            true = until[entry.id] - lock if entry.id in until else entry.at
            wrong = true - entry.at > EARLY or entry.at - true > LATE
            known.append(replace(entry, at=true, misdated=True) if wrong else entry)
    return _ranked(known) if any(entry.misdated for entry in known) else history


def late_markers(history: History, noted: datetime | None) -> History:
    """Delete markers outside locks/ come last of all, but for those before ``noted``, when a signed note said that all was well."""
    if not history.misdated:
        return history
    known = [entry for entries in history.names.values() for entry in entries]
    last = max(entry.at for entry in known if not entry.marker)

    def moved(entry: Entry) -> Entry:
        if not entry.marker or entry.name.startswith(LOCKS) or (noted is not None and entry.at <= noted):
            return entry
        return replace(entry, at=max(entry.at, last))

    return _ranked(map(moved, known))


def _ranked(entries: Iterable[Entry]) -> History:
    """The storage's list is in the order of the dates that it tells: ours follows the times of writing."""
    ranked = sorted(entries, key=lambda entry: (entry.at, -entry.order), reverse=True)
    return History(replace(entry, order=place) for place, entry in enumerate(ranked, start=1))
