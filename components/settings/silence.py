"""What follows from a source's schedule: when it counts as silent (A8), and the nights without a backup."""

from __future__ import annotations

from datetime import date, timedelta

from components.settings.calendar import parse_time_span
from components.settings.on_calendar import OnCalendar, find_zone

MARGIN = 2  # hours: a backup may take this much longer than the previous one
MOST_HOURS = 88_000  # ten years, so that schedules on leap days are covered
_HOUR = timedelta(hours=1)


def find_silence_limit(schedule: str, randomized_delay: str, margin: int = MARGIN) -> int | None:
    """The limit in whole hours: the longest pause between two runs, the delay, and the margin. None if it is not a schedule or occurs at most once.

    An event without a zone is in the host's own zone, which is not known here: one hour is added for a clock that is put back.
    """
    event, delay = OnCalendar.parse(schedule), parse_time_span(randomized_delay)
    if event is None or delay is None:
        return None
    zone = None if event.zone is None else find_zone(event.zone)
    gap = event.longest_gap(zone)
    if gap is None:
        return None
    if zone is None:
        gap += _HOUR
    return -(-(gap + timedelta(seconds=delay)) // _HOUR) + margin


def warn_of_lost_night(source: str, schedule: str, zone_name: str, today: date) -> str | None:
    """A warning if that zone's clock is put forward over the schedule, so that systemd skips the run; otherwise None."""
    event, zone = OnCalendar.parse(schedule), find_zone(zone_name)
    day = None if event is None or zone is None else event.loses_runs(zone, today)
    if day is None:
        return None
    return (
        f"NO BACKUP of {source} on {day}: the time of its schedule, {schedule!r}, does not exist on that day in {zone_name},"
        " whose clock is put forward over it. Choose a time between 04:00 and 21:59, which every zone has, or one in UTC."
    )
