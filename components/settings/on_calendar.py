"""OnCalendar: the times of a systemd calendar event, computed as systemd does, without a host.

It covers the part of systemd.time(7) that backup schedules need: weekdays, date, time, zone, and the words from hourly to
yearly, but not `~`, fractions of seconds and `@`. systemd accepts everything that is accepted here, and both compute the same times:
tests/unit/settings/test_on_calendar.py asks `systemd-analyze calendar`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WORDS = {
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKDAY = {name: index for index, day in enumerate(_WEEKDAYS) for name in (day, day[:3])}
_ZONE = re.compile(r"UTC|[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_+-]+){1,2}", re.ASCII)
_ITEM = re.compile(r"(\d{1,4})(?:\.\.(\d{1,4}))?(?:/(\d{1,4}))?", re.ASCII)
_YEAR, _MONTH, _DAY = range(1970, 2200), range(1, 13), range(1, 32)
_HOUR, _SIXTY = range(24), range(60)
_ONE_DAY = timedelta(days=1)
_CLOCK_CHANGE = timedelta(hours=2)  # the largest change of a zone's clock (Antarctica/Troll)
_MANY = 288  # runs a day: every five minutes
# Eight years contain two leap days and all current rules for daylight saving time.
_YEARS = range(2027, 2035)


def find_zone(name: str) -> ZoneInfo | None:
    """The zone of this name, or None if this machine does not know it."""
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return None


@dataclass(frozen=True, kw_only=True)
class OnCalendar:
    """One calendar event. ``zone`` is the zone that it names; None means the host's own time zone."""

    weekdays: frozenset[int]
    years: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    hours: frozenset[int]
    minutes: frozenset[int]
    seconds: frozenset[int]
    zone: str | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The event, or None if the text is not a calendar event."""
        words = text.split(" ")
        zone = words.pop() if len(words) > 1 and _ZONE.fullmatch(words[-1]) else None
        if len(words) == 1:
            words = _WORDS.get(words[0], words[0]).split(" ")
        weekdays = _weekdays(words[0])
        if weekdays is not None:
            words.pop(0)
        at = words.pop() if words and ":" in words[-1] else "00:00:00"
        on = words.pop() if words else "*-*-*"
        dates = _fields(f"*-{on}" if on.count("-") == 1 else on, "-", (_YEAR, _MONTH, _DAY))
        times = _fields(f"{at}:00" if at.count(":") == 1 else at, ":", (_HOUR, _SIXTY, _SIXTY))
        if words or dates is None or times is None:
            return None
        return cls(
            weekdays=frozenset(range(7)) if weekdays is None else weekdays,
            years=dates[0],
            months=dates[1],
            days=dates[2],
            hours=times[0],
            minutes=times[1],
            seconds=times[2],
            zone=zone,
        )

    def runs(self, first: date, last: date, zone: ZoneInfo) -> Iterator[datetime]:
        """The times of the event in that zone, in UTC, from the first day to the last. Times that a clock skips are left out."""
        for day in self._days(first, last):
            yield from _existing(day, self._times, zone)

    def longest_gap(self, zone: ZoneInfo | None = None) -> timedelta | None:
        """The longest time between two runs, or None if it occurs at most once. ``zone``: whose clock changes count; None: no clock changes."""
        return _longest_gap(self, zone)

    def loses_runs(self, zone: ZoneInfo, since: date) -> date | None:
        """The next day on which that zone's clock is put forward over runs, which makes the pause much longer than usual; None if there is none."""
        usual, longest = self.longest_gap(), self.longest_gap(zone)
        if usual is None or longest is None or longest <= usual + _CLOCK_CHANGE:
            return None
        days = self._days(since, since.replace(year=since.year + len(_YEARS), day=1))
        return next(
            (day for day in days if len(list(_existing(day, self._times, zone))) < len(self._times)), None
        )

    @cached_property
    def _times(self) -> tuple[time, ...]:
        return tuple(
            time(hour, minute, second)
            for hour in sorted(self.hours)
            for minute in sorted(self.minutes)
            for second in sorted(self.seconds)
        )

    @cached_property
    def _inner(self) -> timedelta:
        """The longest time between two runs of one day."""
        seconds = [one.hour * 3600 + one.minute * 60 + one.second for one in self._times]
        return timedelta(seconds=max((b - a for a, b in pairwise(seconds)), default=0))

    @property
    def _window(self) -> tuple[date, date]:
        years = _YEARS if len(self.years) == len(_YEAR) else self.years
        return date(min(years), 1, 1), date(max(years), 12, 31)

    def _days(self, first: date, last: date) -> Iterator[date]:
        for number in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(number)
            if (
                day.day in self.days
                and day.month in self.months
                and day.weekday() in self.weekdays
                and day.year in self.years
            ):
                yield day

    def _of_day(self, day: date, zone: ZoneInfo | None) -> tuple[datetime | None, datetime | None, timedelta]:
        """The day's first and last run, and the longest time between two of its runs."""
        start = datetime.combine(day, self._times[0], UTC)
        end = datetime.combine(day, self._times[-1], UTC)
        if zone is None:
            return start, end, self._inner
        midnight = datetime.combine(day, time(), zone)
        offset = midnight.utcoffset() or timedelta()
        later = (midnight + _ONE_DAY).utcoffset() or timedelta()
        if offset == later:
            return start - offset, end - offset, self._inner
        if len(self._times) > _MANY:
            return start - offset, end - later, self._inner + abs(later - offset)
        runs = list(_existing(day, self._times, zone))
        if not runs:
            return None, None, timedelta()
        return runs[0], runs[-1], max((b - a for a, b in pairwise(runs)), default=timedelta())


@lru_cache(maxsize=256)
def _longest_gap(event: OnCalendar, zone: ZoneInfo | None) -> timedelta | None:
    """Computed over years of days and cached, because sources with the same schedule share it."""
    longest: timedelta | None = None
    before: datetime | None = None
    for day in event._days(*event._window):
        first, last, inner = event._of_day(day, zone)
        if first is None or last is None:
            continue
        gap = max(inner, first - before) if before is not None else inner
        if gap:
            longest = max(gap, longest or gap)
        before = last
    return longest


def _existing(day: date, times: tuple[time, ...], zone: ZoneInfo) -> Iterator[datetime]:
    """The day's times in UTC, without those that its clock skips. A time that occurs twice counts once, as in systemd."""
    for at in times:
        local = datetime.combine(day, at, zone)
        moment = local.astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
            yield moment


def _weekdays(text: str) -> frozenset[int] | None:
    """``Mon``, ``Mon,Thu``, ``Mon..Fri``; None if the text is not weekdays."""
    found: set[int] = set()
    for item in text.split(","):
        first, dots, last = item.partition("..")
        if first not in _WEEKDAY or (dots and last not in _WEEKDAY):
            return None
        low, high = _WEEKDAY[first], _WEEKDAY[last or first]
        if low > high:
            return None
        found.update(range(low, high + 1))
    return frozenset(found)


def _fields(
    text: str, separator: str, bounds: tuple[range, range, range]
) -> tuple[frozenset[int], ...] | None:
    parts = text.split(separator)
    if len(parts) != len(bounds):
        return None
    fields = tuple(_field(part, bound) for part, bound in zip(parts, bounds, strict=True))
    found = tuple(field for field in fields if field is not None)
    return found if len(found) == len(fields) else None


def _field(text: str, bound: range) -> frozenset[int] | None:
    """One field of a date or time: ``*`` alone, or a list of numbers, ranges and repetitions, all within bounds."""
    if text == "*":
        return frozenset(bound)
    found: set[int] = set()
    for item in text.split(","):
        form = _ITEM.fullmatch(item)
        if form is None:
            return None
        low, step = int(form[1]), int(form[3] or 1)
        high = int(form[2]) if form[2] else bound[-1] if form[3] else low
        if low not in bound or high not in bound or step == 0:
            return None
        if (form[2] or form[3]) and low + step > high:
            return None  # systemd demands at least one repetition within the range
        found.update(range(low, high + 1, step))
    return frozenset(found)
