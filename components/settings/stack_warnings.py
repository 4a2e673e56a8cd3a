"""Warnings about settings that are allowed but weaken the promise, on every run, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from components.settings.aws_bucket import IN_ITS_CLASS, AwsBucket
from components.settings.hosts import ExistingHost, ManagedHost, SandboxVm, UnmanagedSource
from components.settings.on_calendar import OnCalendar
from components.settings.silence import warn_of_lost_night
from components.settings.stack import Settings
from components.settings.storage import RcloneRemoteSection, S3Bucket
from components.settings.values import is_loopback
from components.storage.service_facts import losses
from components.storage.services import SERVICES


def list_warnings(settings: Settings) -> tuple[str, ...]:
    """The warnings about settings that are allowed but weaken the promise, each with its remedy."""
    return tuple(_warnings(settings))


def _warnings(settings: Settings) -> Iterator[str]:
    """The sandbox is for trials: its lock and missing protection need no warning."""
    relay, storage = settings.intermediate, settings.storage
    cut_off = [source.name for source in settings.sources if source.cut_off]
    if cut_off:
        yield (
            f"CUT OFF, so without backups ({', '.join(cut_off)}): back by `lastcopy let-in`, or remove cutOff "
            "from lastcopy:sources."
        )
    if isinstance(relay, SandboxVm):
        return
    yield from _schedule_warnings(settings)
    if not settings.protect and settings.environment not in ("local", "test"):
        yield (
            "lastcopy:protect is false: `pulumi destroy` deletes the repositories' passwords, and without "
            "them no backup can be read. Remove the line outside tests."
        )
    reduced = [source.name for source in settings.sources if source.sandboxing == "reduced"]
    if reduced:
        yield (
            f"REDUCED SANDBOX ({', '.join(reduced)}): there a backup's processes could write to the whole host, like any process of root. "
            "Allow the container to make mount namespaces, then remove sandboxing from lastcopy:sources."
        )
    yield from _jump_host_warnings(settings)
    if isinstance(storage, RcloneRemoteSection):
        yield (
            "NO OBJECT LOCK (lastcopy:storage.rclone): a source still cannot delete backups, but whoever "
            "controls the relay or has the storage's keys can delete all of them. Use storage.s3 with a locked bucket."
        )
    if isinstance(storage, S3Bucket):
        yield from _bucket_warnings(settings, storage)
    if isinstance(storage, AwsBucket):
        yield from _aws_warnings(settings, storage)


def _jump_host_warnings(settings: Settings) -> Iterator[str]:
    relay = settings.intermediate
    jump = settings.jump_host(relay) if isinstance(relay, ExistingHost) else None
    if jump is None:
        return
    for source in settings.sources:
        host = source.host
        if isinstance(host, ManagedHost) and jump.host_key == host.host_key:
            yield (
                f"Source {source.name} is the jump host that leads to the relay: whoever controls it can keep you from the "
                "relay, also when you want to cut that source off. Use a jump host that is no source."
            )


# One for each hour over which clocks are put forward somewhere.
_ZONES = ("Europe/Berlin", "Europe/London", "Europe/Athens", "Africa/Cairo", "Pacific/Easter", "America/Nuuk")


def _schedule_warnings(settings: Settings) -> Iterator[str]:
    """Nights without a backup, if the zone is known here. For a managed host BackupSchedule warns, because the host reports its zone."""
    today = datetime.now(UTC).date()
    for source in settings.sources:
        event = OnCalendar.parse(source.schedule)
        zone = None if event is None else event.zone
        unknown = zone is None and isinstance(source.host, UnmanagedSource)
        told = [
            found
            for name in (_ZONES if unknown else (zone,) if zone is not None else ())
            if (found := warn_of_lost_night(source.name, source.schedule, name, today)) is not None
        ]
        if told:
            yield f"If its host is in such a zone: {told[0]}" if unknown else told[0]


def _silence_warnings(settings: Settings, storage: AwsBucket) -> Iterator[str]:
    """Alarms that fire although all is well, and alarms that come after the lock of the last snapshot has ended."""
    if storage.alarms is None:
        return
    given, alarms = storage.alarms.silent_hours, "lastcopy:storage.aws.alarms"
    early = [one.name for one in settings.sources if given is not None and given < one.silent_hours]
    if given is not None and early:
        yield (
            f"{alarms}.silentHours is {given}, less than the schedule of {', '.join(early)} needs: the alarm can fire although"
            " all is well. Remove it: then each source's own schedule decides."
        )
    late = [one.name for one in settings.sources if (given or one.silent_hours) > 24 * storage.lock.days]
    if late:
        yield (
            f"Lock of {storage.lock.days} days, and silence of {', '.join(late)} is reported later than that: by then the last"
            " snapshot is not locked any more. Raise lastcopy:storage.aws.lock.days, or back up more often."
        )


def _bucket_warnings(settings: Settings, storage: S3Bucket) -> Iterator[str]:
    sharing = [source.name for source in settings.sources if source.identity is None]
    if storage.identity is not None and sharing:
        yield (
            f"SHARED STORAGE IDENTITY ({', '.join(sharing)}): only the relay keeps these sources apart; whoever "
            "controls it reaches them all. Give each source an identity of its own (sources[…].identity)."
        )
    if storage.identity is not None and not sharing:
        yield "lastcopy:storage.s3.identity is used by no source. Remove it, and revoke it in the storage."
    service = SERVICES[storage.provider]
    for rows, meaning in losses(service):
        yield (
            f"{service.title} (lastcopy:storage.s3.provider) weakens {' and '.join(rows)} of docs/threat-model.md: {meaning}. "
            "See docs/storage-services.md."
        )
    if storage.accepted_losses:
        yield (
            f"ACCEPTED LOSSES (lastcopy:storage.s3.acceptedLosses: {', '.join(storage.accepted_losses)}): where the storage does not hold "
            "these rows of docs/threat-model.md, backups are made anyway. Remove the line if the storage meets these rows."
        )
    if storage.lock.mode == "GOVERNANCE":
        yield (
            "GOVERNANCE lock (lastcopy:storage.s3.lock.mode): whoever has s3:BypassGovernanceRetention can "
            "delete locked backups. Use COMPLIANCE outside tests."
        )
    if storage.lock.minimum_days < 7:
        yield (
            f"Lock of {storage.lock.minimum_days} day(s) (lastcopy:storage.s3.lock.minimumDays): an attack "
            "that nobody notices for longer can delete every backup. Use 30 or more."
        )
    host, relay = urlsplit(storage.endpoint).hostname or "", settings.intermediate
    own = isinstance(relay, ExistingHost) and (relay.address, relay.as_sources_see_it().address)
    if host in [name.lower() for name in own or ()] or is_loopback(host):
        yield (
            "The storage is on the relay itself (lastcopy:storage.s3.endpoint): root there owns every "
            "backup. Use another machine."
        )


def _aws_warnings(settings: Settings, storage: AwsBucket) -> Iterator[str]:
    where, lock = "lastcopy:storage.aws", storage.lock
    if storage.purpose == "test" and settings.environment not in ("local", "test"):
        yield f"{where}.purpose is test: `pulumi destroy` deletes the bucket with every backup. Use production."
    if storage.purpose == "production" and lock.mode == "GOVERNANCE":
        yield f"GOVERNANCE lock ({where}.lock.mode): the break-glass role can delete locked backups. Use COMPLIANCE."
    if storage.purpose == "production" and lock.days < 7:
        yield (
            f"Lock of {lock.days} day(s) ({where}.lock.days): an attack that nobody notices for longer can delete "
            "every backup. Use 30 or more."
        )
    yield from _silence_warnings(settings, storage)
    deployer = settings.aws.assume_role if settings.aws is not None else None
    if storage.purpose == "test" and deployer not in (None, storage.break_glass):
        yield (
            f"Another role than {where}.breakGlass deploys (lastcopy:aws.assumeRole): `pulumi destroy` will be refused, "
            "as only break-glass may empty the bucket. In a test let it deploy."
        )
    if storage.purpose == "production" and deployer == storage.break_glass:
        yield (
            "The break-glass role deploys (lastcopy:aws.assumeRole): every run could loosen the vault's policy. "
            "Use it for one change of the vault, then the deploying role again."
        )
    for move in storage.storage_classes:
        least = IN_ITS_CLASS[move.class_]
        if lock.days < least:
            yield (
                f"{move.class_} bills {least} days at least, the lock is {lock.days} ({where}.storageClasses): what is "
                "removed as soon as it may be costs more than without the move."
            )
