"""Alarms on counts of the vault's events: what each watches, and when it fires. Pure: no engine, no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.vault.alarms import event_patterns
from components.vault.alarms.event_patterns import Pattern

_HOUR = 3600  # seconds


@dataclass(frozen=True, kw_only=True)
class EventAlarm:
    """An alarm on the number of events that match ``pattern`` in each ``period`` (seconds). By default a single event fires it.

    ``tells_when_over``: whether people are also notified when it is over.
    """

    role: str
    pattern: Pattern
    text: str
    comparison_operator: Literal["GreaterThanOrEqualToThreshold", "LessThanThreshold"] = (
        "GreaterThanOrEqualToThreshold"
    )
    period: int = 300
    evaluation_periods: int = 1
    datapoints_to_alarm: int | None = None
    treat_missing_data: Literal["breaching", "notBreaching"] = "notBreaching"
    tells_when_over: bool = False


def event_alarms(bucket: str) -> tuple[EventAlarm, ...]:
    """One alarm for each kind of event that should not happen to the vault."""
    return tuple(
        EventAlarm(role=role, pattern=pattern, text=f"{bucket}: {text}")
        for role, pattern, text in (
            (
                "hidden",
                event_patterns.hidden(bucket),
                "Something outside locks/ was deleted; its versions are kept: docs/runbook.md",
            ),
            (
                "destroyed",
                event_patterns.destroyed(bucket),
                "Versions were deleted by a call: only break-glass can, and only what no lock holds",
            ),
            (
                "reconfigured",
                event_patterns.reconfigured(bucket),
                "The bucket's settings were changed, or somebody tried: look into CloudTrail",
            ),
            (
                "denied",
                event_patterns.denied(bucket),
                "The vault refused calls: look into CloudTrail for who asked for what",
            ),
        )
    )


def silence_alarm(source: str, new_snapshot: Pattern, text: str, hours: int) -> EventAlarm:
    """Fires if no snapshot arrived in the last ``hours``."""
    return EventAlarm(
        role=f"silent-{source}",
        pattern=new_snapshot,
        text=text,
        comparison_operator="LessThanThreshold",
        period=_HOUR,
        evaluation_periods=hours,
        datapoints_to_alarm=hours,
        # Without events there is no data: here that must fire the alarm, in the other alarms it is normal.
        treat_missing_data="breaching",
        tells_when_over=True,
    )
