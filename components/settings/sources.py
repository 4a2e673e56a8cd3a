"""Settings of one backed-up host: its name, what it backs up and when, its bounds on the relay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from components.settings.calendar import Calendar, TimeSpan
from components.settings.hosts import ManagedHost, SandboxSource, UnmanagedSource
from components.settings.model import Model, OneOf
from components.settings.problems import SECRET, Finding, Fix, Loc, finding
from components.settings.selection import Expect, Rate, Size, TagFile
from components.settings.silence import MOST_HOURS, silent_after
from components.settings.storage import Identity
from components.settings.values import BackupPath, Cidr, Exclude, Password, Program, SourceName

NOBODYS_ADDRESS = "192.0.2.1/32"  # kept for documentation: RFC 5737
DEFAULT_SCHEDULE = (
    "*-*-* 04:00:00"  # no zone's clock is put forward over it (tests/unit/settings/test_on_calendar.py)
)
DEFAULT_DELAY = "30m"
HOSTS = OneOf(host=ManagedHost, sandbox=SandboxSource, publicKey=UnmanagedSource)


class Limits(Model):
    """What one source's account on the relay may use at the same time, so that the others still back up."""

    sessions: Annotated[StrictInt, Field(ge=1, le=64)] = Field(
        4, description="Sessions at the same time, 1 to 64."
    )
    processes: Annotated[StrictInt, Field(ge=64, le=4096)] = Field(
        256, description="Processes and threads of all its sessions together, 64 to 4096."
    )
    memory_mib: Annotated[StrictInt, Field(ge=256, le=65536)] = Field(
        1024,
        alias="memoryMiB",
        description="Memory of each session in MiB, 256 to 65536; never more than half of the relay's.",
    )
    open_files: Annotated[StrictInt, Field(ge=128, le=65536)] = Field(
        1024, description="Open files and connections of each process, 128 to 65536."
    )
    hours: Annotated[StrictInt, Field(ge=1, le=168)] = Field(
        24, description="Longest session in hours, 1 to 168."
    )
    upload_gib_per_day: Annotated[StrictInt, Field(ge=1, le=1 << 20)] | None = Field(
        None,
        alias="uploadGiBPerDay",
        description="What it may send to the storage from midnight to midnight UTC in GiB, 1 to 1048576. Default: no limit.",
    )


class Restic(Model):
    """restic's tuning on the source."""

    pack_size_mib: Annotated[StrictInt, Field(ge=4, le=128)] = Field(
        64,
        alias="packSizeMiB",
        description="Size of restic's packs in MiB, 4 to 128. Temporary space: (connections + 1) packs.",
    )
    connections: Annotated[StrictInt, Field(ge=1, le=32)] = Field(
        8, description="Requests at the same time within one session, 1 to 32."
    )
    read_concurrency: Annotated[StrictInt, Field(ge=1, le=64)] = Field(
        2, description="Files that the source reads at the same time, 1 to 64."
    )
    compression: Literal["auto", "off", "max"] = Field(
        "auto", description="restic's compression: auto, off or max."
    )


class Source(Model):
    """One backed-up host: account bk-NAME, prefix NAME/, one repository, one schedule."""

    EXAMPLE: ClassVar[object] = {"name": "web1", "host": ManagedHost.EXAMPLE, "paths": ["/srv", "/etc"]}

    name: SourceName = Field(
        description="Unique name: 1 to 23 of a-z 0-9 -. It becomes account bk-NAME and prefix NAME/.",
        examples=["web1"],
    )
    host: Annotated[ManagedHost | SandboxSource | UnmanagedSource, HOSTS] = Field(
        description="Where the source is."
    )
    paths: Annotated[tuple[BackupPath, ...], Field(min_length=1)] = Field(
        description="What is backed up: absolute paths, at least one.", examples=[["/srv"]]
    )
    exclude: tuple[Exclude, ...] = Field(
        (), description="Patterns that are left out, as for restic --exclude.", examples=[["*.tmp"]]
    )
    one_file_system: StrictBool = Field(
        False,
        description="true: other file systems mounted below a path are left out, as by restic --one-file-system.",
    )
    exclude_caches: StrictBool = Field(
        False,
        description="true: folders that hold a CACHEDIR.TAG are left out, as by restic --exclude-caches.",
    )
    exclude_if_present: Annotated[tuple[TagFile, ...], Field(max_length=16)] = Field(
        (),
        description="Names of files that leave out the folder in which they are, as for restic --exclude-if-present.",
        examples=[[".nobackup"]],
    )
    exclude_larger_than: Size | None = Field(
        None,
        description="Size from which files are left out, 1M or more, as for restic --exclude-larger-than. Default: none is.",
        examples=["4G"],
    )
    expect: Expect = Field(Expect(), description="When the outcome of a backup still needs a person.")
    rate: Rate = Field(Rate(), description="How fast scheduled backups may use the network.")
    schedule: Calendar = Field(
        DEFAULT_SCHEDULE, description="When it is backed up: a systemd OnCalendar expression."
    )
    randomized_delay: TimeSpan = Field(
        DEFAULT_DELAY, description="Random delay before each run, so that not all start at once: a time span."
    )
    silent_after_hours: Annotated[StrictInt, Field(ge=1, le=MOST_HOURS)] | None = Field(
        None,
        description="Without a new snapshot for so many hours it counts as silent, for `ops status`, the restore drill and"
        " the alarms. Default: from its schedule, the longest pause plus the delay plus 2 hours.",
        examples=[28],
    )
    sandboxing: Literal["full", "reduced"] = Field(
        "full",
        description="How the backup's own processes are confined on the source: full, or reduced to what a container can do that"
        " makes no mount namespaces (see docs/hosts.md); every run warns.",
    )
    pre_hook: Program | None = Field(
        None,
        description="Executable on the source that runs before; if it fails, so does the run.",
        examples=["/usr/local/sbin/dump-databases"],
    )
    post_hook: Program | None = Field(
        None,
        description="Executable on the source that runs afterwards, in any case.",
        examples=["/usr/local/sbin/after-backup"],
    )
    from_: tuple[Cidr, ...] = Field(
        (),
        alias="from",
        description="Addresses or networks that the source's key may come from; empty: any.",
        examples=[["203.0.113.7/32"]],
    )
    cut_off: StrictBool = Field(
        False,
        description="true: the source's key opens nothing and its sessions end; its host is not asked, `from` is kept.",
    )
    generation: Annotated[StrictInt, Field(ge=1, le=999999)] = Field(
        1, description="A new number starts a new repository and leaves the old one as it is."
    )
    password: Password | None = Field(
        None,
        description="Secret: the repository's password, at least 20 characters. Default: one is made.",
        examples=[SECRET],
    )
    identity: Identity | None = Field(None, description="Storage identity of this source alone.")
    identity_generation: Annotated[StrictInt, Field(ge=1, le=999999)] = Field(
        1,
        description="With storage.aws: a new number gives the source a new storage key without a gap and deletes"
        " the old one; a backup that runs then is cut and tried again a minute later.",
    )
    limits: Limits = Field(Limits(), description="What this source may use on the relay.")
    restic: Restic = Field(Restic(), description="restic's tuning.")

    @property
    def silent_hours(self) -> int:
        """Without a new snapshot for so many hours something is wrong, as far as its settings say (A8)."""
        return self.silent_after_hours or silent_after(self.schedule, self.randomized_delay) or MOST_HOURS

    @property
    def allowed_from(self) -> tuple[str, ...]:
        """From where its key opens anything: an address that nobody has, while it is cut off."""
        return (NOBODYS_ADDRESS,) if self.cut_off else self.from_

    @classmethod
    def prepare(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """``host``, ``sandbox`` and ``publicKey`` stand beside the other keys; they become ``host``."""
        rest = {key: value for key, value in raw.items() if key not in HOSTS.members}
        return {**rest, "host": {key: raw[key] for key in HOSTS.members if key in raw}}

    @classmethod
    def located(cls, loc: Loc) -> Loc:
        return loc[1:] if loc[:1] == ("host",) else loc

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        paths = raw.get("paths")
        paths = paths if isinstance(paths, list | tuple) else []
        for index, path in enumerate(paths):
            if path in paths[:index]:
                fix = Fix(say="remove one of the two:", remove=True)
                yield finding(("paths", index), "stands in the list twice", "each path once", fix)
        yield from _outside_of(paths, raw.get("expect"))
        yield from _room_for_connections(raw)
        yield from _silent_after_a_run_is_due(raw)


def silent_hours_of(raw: Mapping[str, Any]) -> int | None:
    """`Source.silent_hours` of what was written, of any shape; None where its own rules speak."""
    given, schedule = raw.get("silentAfterHours"), raw.get("schedule", DEFAULT_SCHEDULE)
    delay = raw.get("randomizedDelay", DEFAULT_DELAY)
    if given is not None:
        return given if type(given) is int else None
    return silent_after(schedule, delay) if isinstance(schedule, str) and isinstance(delay, str) else None


def _silent_after_a_run_is_due(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Shorter than the schedule's own pauses, it would be told every time."""
    given, schedule = raw.get("silentAfterHours"), raw.get("schedule", DEFAULT_SCHEDULE)
    delay = raw.get("randomizedDelay", DEFAULT_DELAY)
    if type(given) is not int or not isinstance(schedule, str) or not isinstance(delay, str):
        return
    least = silent_after(schedule, delay, margin=0)
    if least is not None and 1 <= given < least:
        what = f"is {given}, but by its schedule {least} hours may pass between two snapshots"
        yield finding(
            ("silentAfterHours",), what, f"at least {least}, and time for the backup itself", Fix(remove=True)
        )


def _outside_of(paths: Sequence[object], expect: object) -> Iterator[Finding]:
    """A slip in ``expect.mayBeEmpty`` would go unnoticed until the day on which it matters."""
    empty = expect.get("mayBeEmpty") if isinstance(expect, Mapping) else None
    for index, given in enumerate(empty if isinstance(empty, list | tuple) else ()):
        if isinstance(given, str) and not any(
            isinstance(path, str) and f"{given}/".startswith(f"{path.rstrip('/')}/") for path in paths
        ):
            loc = ("expect", "mayBeEmpty", index)
            yield finding(
                loc, "is none of the paths, and lies in none", "one of paths, or below one", Fix(remove=True)
            )


def _room_for_connections(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """If the relay allows less than restic asks for, restic hangs (restic issue 2925): refuse that here."""
    limits, restic = raw.get("limits", {}), raw.get("restic", {})
    if not isinstance(limits, Mapping) or not isinstance(restic, Mapping):
        return
    connections = restic.get("connections", 8)
    sessions = limits.get("sessions", 4)
    if connections not in range(1, 33) or sessions not in range(1, 65):
        return  # their own rules speak
    # 16 threads are what an idle Go program of rclone's size takes; each connection may hold one more.
    needs = {
        "processes": (256, 64, sessions * (16 + connections)),
        "openFiles": (1024, 128, 64 + 8 * connections),
        "memoryMiB": (1024, 256, 128 + 16 * connections),
    }
    for key, (default, floor, least) in needs.items():
        given = limits.get(key, default)
        if type(given) is int and floor <= given < least:
            what = f"{given} is too little: restic hangs in {sessions} sessions of {connections} connections"
            allowed = f"at least {least}, or fewer restic.connections"
            yield finding(("limits", key), what, allowed, Fix(value=least))
