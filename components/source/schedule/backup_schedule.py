"""BackupSchedule: what a source backs up, when, and what happens if that fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pulumi

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.settings import Source
from components.settings.on_calendar import OnCalendar
from components.settings.silence import warn_of_lost_night
from components.source import step_values


@dataclass(frozen=True, kw_only=True)
class BackupScheduleArgs:
    source: Source
    host: Host


class BackupSchedule(pulumi.ComponentResource):
    """Backups run automatically, one at a time, and the host itself shows how the last one ended.

    Pulumi type ``lastcopy:source:BackupSchedule``; child ``<name>-units`` (HostStep). On the host:
    lastcopy-backup.timer and .service, and ``/var/lib/lastcopy/status.json``, readable by everybody. An outage is retried
    with growing pauses, up to 9 times; a refusal is not retried and says what to do (exit codes:
    components/source/schedule/run-backup). An incomplete snapshot fails the unit (A9;
    components/source/schedule/backup-contents). A removed source loses its units, paths and hook settings, but keeps its status.
    Errors before anything changes: a calendar event or time span that the host's systemd does not accept; a
    hook that is missing, not executable or writable by others than root; a path that is a symbolic link. Warns of a
    night on which the schedule's time does not exist in the host's own time zone.
    Does not notice a source that is switched off for weeks (A8): `lastcopy status` and the alarms watch the storage for that.
    """

    def __init__(
        self, name: str, args: BackupScheduleArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("lastcopy:source:BackupSchedule", name, {"schedule": args.source.schedule}, opts)
        units = HostStep(
            f"{name}-units",
            HostStepArgs(
                host=args.host, script="schedule", values=step_values.schedule(args.source), undo=True
            ),
            pulumi.ResourceOptions(parent=self),
        )
        units.facts.apply(lambda facts: _warn_of_lost_nights(args.source, str(facts.get("zone"))))
        self.register_outputs({})


def _warn_of_lost_nights(source: Source, zone: str) -> None:
    """Warn in this run and in later previews: the host reported its time zone when it was last set up."""
    event = OnCalendar.parse(source.schedule)
    warning = warn_of_lost_night(source.name, source.schedule, zone, datetime.now(UTC).date())
    if warning is not None and event is not None and event.zone is None:
        pulumi.log.warn(warning)
