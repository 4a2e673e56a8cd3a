"""Rules for systemd's calendar events and time spans, so that mistakes are found here and not on the source."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StrictStr

from components.settings.on_calendar import OnCalendar
from components.settings.problems import quote_harmless, refuse

CALENDAR = 'a systemd OnCalendar expression, such as "*-*-* 04:00:00", "Mon..Fri 22:30" or "hourly"'
SPAN = 'a systemd time span up to 24 hours, such as "30m", "1h 30m" or "0"'
_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600}


def _calendar(value: str) -> str:
    event = OnCalendar.parse(value)
    if event is None:
        raise refuse(f"{quote_harmless(value)} is not a calendar event", allowed=CALENDAR)
    if event.longest_gap() is None:
        raise refuse(f"{quote_harmless(value)} comes once at most: no schedule for backups", allowed=CALENDAR)
    return value


def parse_time_span(text: str) -> int | None:
    """The length of a systemd time span in seconds, or None if the text is not one."""
    if not re.fullmatch(r"\d{1,6} ?(s|sec|m|min|h|hr)?( ?\d{1,6} ?(s|sec|m|min|h|hr))*", text, re.ASCII):
        return None
    return sum(int(number) * _UNITS[unit or "s"] for number, unit in re.findall(r"(\d+) ?([a-z]*)", text))


def _span(value: str) -> str:
    seconds = parse_time_span(value)
    if seconds is None or seconds > 86400:
        raise refuse(f"{quote_harmless(value)} is not a time span up to a day", allowed=SPAN)
    return value


Calendar = Annotated[StrictStr, AfterValidator(_calendar)]
TimeSpan = Annotated[StrictStr, AfterValidator(_span)]
