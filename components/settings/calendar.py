"""Rules for systemd's calendar events and time spans, so that nonsense is met here and not on the source."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StrictStr

from components.settings.problems import refuse, shown

CALENDAR = 'a systemd OnCalendar expression, such as "*-*-* 02:00:00", "Mon..Fri 22:30" or "hourly"'
SPAN = 'a systemd time span up to 24 hours, such as "30m", "1h 30m" or "0"'
_WORDS = {"hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually"}
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:day|sday|nesday|rsday|urday)?"
_DAYS = re.compile(rf"{_DAY}(?:(?:\.\.|,){_DAY})*", re.ASCII)
_ZONE = re.compile(r"UTC|[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_+-]+){1,2}", re.ASCII)
_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600}


def _part(text: str, low: int, high: int) -> bool:
    """One field of a date or time: ``*``, numbers, ranges, lists and repetitions, all within bounds."""
    for item in text.split(","):
        found = re.fullmatch(r"(\*|\d{1,4}(?:\.\.\d{1,4})?)(?:/(\d{1,4}))?", item, re.ASCII)
        if found is None or (found[2] and int(found[2]) == 0):
            return False
        numbers = [int(number) for number in re.findall(r"\d+", found[1])]
        if any(not low <= number <= high for number in numbers) or numbers != sorted(numbers):
            return False
    return True


def _fields(text: str, separator: str, bounds: tuple[tuple[int, int], ...]) -> bool:
    parts = text.split(separator)
    if not 2 <= len(parts) <= len(bounds):
        return False
    # A date leaves out its first field (the year), a time its last one (the seconds).
    used = bounds[-len(parts) :] if separator == "-" else bounds[: len(parts)]
    return all(_part(part, low, high) for part, (low, high) in zip(parts, used, strict=True))


def is_calendar(text: str) -> bool:
    """Whether this looks like OnCalendar: [weekdays] [date] [time] [zone], or one of its words."""
    words = text.split(" ")
    if len(words) > 1 and _ZONE.fullmatch(words[-1]):
        words.pop()
    if words[0] in _WORDS:
        return len(words) == 1
    if len(words) > 1 and _DAYS.fullmatch(words[0]):
        words.pop(0)
    if len(words) == 1 and _DAYS.fullmatch(words[0]):
        return True
    if len(words) > 1 and _fields(words[0], "-", ((1970, 2199), (1, 12), (1, 31))):
        words.pop(0)
    if len(words) != 1:
        return False
    return _fields(words[0], ":", ((0, 23), (0, 59), (0, 59))) or _fields(
        words[0], "-", ((1970, 2199), (1, 12), (1, 31))
    )


def _calendar(value: str) -> str:
    if not is_calendar(value):
        raise refuse(f"{shown(value)} is not a calendar event", allowed=CALENDAR)
    return value


def seconds_of(text: str) -> int | None:
    """The length of a systemd time span in seconds, or None when it is none."""
    if not re.fullmatch(r"\d{1,6} ?(s|sec|m|min|h|hr)?( ?\d{1,6} ?(s|sec|m|min|h|hr))*", text, re.ASCII):
        return None
    return sum(int(number) * _UNITS[unit or "s"] for number, unit in re.findall(r"(\d+) ?([a-z]*)", text))


def _span(value: str) -> str:
    seconds = seconds_of(value)
    if seconds is None or seconds > 86400:
        raise refuse(f"{shown(value)} is not a time span up to a day", allowed=SPAN)
    return value


Calendar = Annotated[StrictStr, AfterValidator(_calendar)]
TimeSpan = Annotated[StrictStr, AfterValidator(_span)]
