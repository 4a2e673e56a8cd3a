"""What follows from a source's schedule: when it counts as silent (A8), and the nights on which it makes no backup at all."""

from __future__ import annotations

from datetime import date, timedelta

from components.settings.calendar import parse_time_span
from components.settings.on_calendar import OnCalendar, find_zone

MARGIN = 2  # hours: one backup may take so much longer than the one before it
MOST_HOURS = 88_000  # ten years: a schedule that comes on leap days is within it
_HOUR = timedelta(hours=1)


def find_silence_limit(schedule: str, randomized_delay: str, margin: int = MARGIN) -> int | None:
    """Whole hours: the longest pause between two runs, the delay, and the margin. None: not a schedule, or it comes once at most.

    An event without a zone is meant in the host's own, which is not known here: one hour more, for a clock that is put back.
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
    """A warning where that zone's clock is put forward over the schedule, so that systemd skips the run; None where it never is."""
    event, zone = OnCalendar.parse(schedule), find_zone(zone_name)
    day = None if event is None or zone is None else event.loses_runs(zone, today)
    if day is None:
        return None
    return (
        f"NO BACKUP of {source} on {day}: the time of its schedule, {schedule!r}, does not exist on that day in {zone_name},"
        " whose clock is put forward over it. Choose a time between 04:00 and 21:59, which every zone has, or one in UTC."
    )
