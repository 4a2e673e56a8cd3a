"""Dates: on a storage that lets a writer choose a version's date, the end of its lock shows when it was written. Pure.

minio takes a version's LastModified from a header that any writer may send. The end of the lock is reliable: the storage's own clock sets a
version's default retention, and a different retention needs a permission that no source's identity has (R5). A lock that the break-glass
identity extended looks like a later write; this program extends no locks.
Delete markers carry no lock: those dated after the newest signed note count as the last events of all, so that no marker can be dated back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ops.errors import LastcopyError
from ops.history.versions import LOCKS, Entry, History, parse_moment

# The lock starts when an upload begins and the date is set when it ends, both by the storage's clock. So an honest date is never earlier than
# the lock's start, and later by no more than an upload takes. An overwrite within EARLY of the original can still pass for it; every
# version is kept all the same.
EARLY, LATE = timedelta(seconds=2), timedelta(days=1)
DAY = timedelta(days=1)
_EARLIER = re.compile(r"([1-9]\d{0,4})@(.+)")


@dataclass(frozen=True, kw_only=True)
class Retention:
    """A bucket's default retention, in days or in years. ``until``: when the next one replaced it; None for the current one."""

    days: int = 0
    years: int = 0
    until: datetime | None = None

    def possible_starts(self, end: datetime) -> Iterator[datetime]:
        """When a lock that ends at ``end`` can have begun. Some storages count a year by the calendar, others as 365 days."""
        if self.days:
            yield end - self.days * DAY
            return
        yield end - self.years * 365 * DAY
        day = end.replace(day=28) if (end.month, end.day) == (2, 29) else end
        yield day.replace(year=end.year - self.years) + (end - day)


def parse_retention(text: str, now: datetime) -> Retention:
    """Parse an earlier default retention: ``60@2026-10-01T00:00:00Z`` means 60 days until then. Raises LastcopyError."""
    form = _EARLIER.fullmatch(text)
    if form is None:
        raise LastcopyError(
            f"{text!a} is not an earlier default retention",
            where="--lock-was",
            allowed="DAYS@TIME: the days, and the time until which new versions got them, such as 60@2026-10-01T00:00:00Z",
        )
    return Retention(days=int(form[1]), until=parse_moment(form[2], now, where="--lock-was"))


def correct_dates(
    history: History, until: Mapping[str, datetime], retentions: Sequence[Retention]
) -> History:
    """The history with the times at which its versions were really written.

    ``until``: version id -> end of its lock. ``retentions``: the bucket's default retentions, oldest first, today's last. A date is believed if
    it matches a retention that was in force at that time. So for a while after a retention was shortened, a writer can date a version back
    by exactly the difference, and by nothing else.
    """
    known: list[Entry] = []
    for entries in history.names.values():
        for entry in entries:
            began = list(_began(until[entry.id], retentions)) if entry.id in until else [entry.at]
            right = any(true - entry.at <= EARLY and entry.at - true <= LATE for true in began)
            known.append(entry if right else replace(entry, at=max(began), misdated=True))
    return _ranked(known) if any(entry.misdated for entry in known) else history


def _began(end: datetime, retentions: Sequence[Retention]) -> Iterator[datetime]:
    """The times at which this lock can have begun. If no retention matches, today's is assumed."""
    since, found = datetime.min.replace(tzinfo=UTC), False
    for one in retentions:
        for began in one.possible_starts(end):
            if since <= began and (one.until is None or began < one.until):
                found = True
                yield began
        since = one.until or since
    if not found:
        yield from retentions[-1].possible_starts(end)


def find_common_shift(reported: History, true: History) -> int | None:
    """The number of whole days by which nearly all misdated versions are off, or None: a sign that the default retention was changed."""
    was = {entry.id: entry.at for entries in reported.names.values() for entry in entries}
    wrong = [entry for entries in true.names.values() for entry in entries if entry.misdated]
    shifts = Counter(round((entry.at - was[entry.id]) / DAY) for entry in wrong)
    days, count = shifts.most_common(1)[0] if shifts else (0, 0)
    near = [one for one in wrong if abs(one.at - was[one.id] - days * DAY) <= EARLY]
    return days if days and count >= 0.9 * len(wrong) and len(near) >= 0.9 * count else None


def date_markers_last(history: History, noted: datetime | None) -> History:
    """Move delete markers outside locks/ to the end of the history, except those before ``noted``, when a signed note said that all was well."""
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
    """The storage orders its list by the dates it reports; order ours by the times of writing."""
    ranked = sorted(entries, key=lambda entry: (entry.at, -entry.order), reverse=True)
    return History(replace(entry, order=place) for place, entry in enumerate(ranked, start=1))
