"""Settings of one backed-up host: its name, what it backs up and when, and its limits on the relay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from components.settings.calendar import Calendar, TimeSpan
from components.settings.hosts import ManagedHost, SandboxSource, UnmanagedSource
from components.settings.model import Model, OneOf, read_if_known
from components.settings.problems import SECRET, Finding, Fix
from components.settings.selection import Expect, Rate, Size, TagFile
from components.settings.silence import MOST_HOURS, find_silence_limit
from components.settings.storage import Identity
from components.settings.values import BackupPath, Cidr, Exclude, Generation, Password, Program, SourceName

NOBODYS_ADDRESS = "192.0.2.1/32"  # reserved for documentation: RFC 5737
DEFAULT_SCHEDULE = (
    "*-*-* 04:00:00"  # no zone's clock is put forward over it (tests/unit/settings/test_on_calendar.py)
)
DEFAULT_DELAY = "30m"
HOSTS = OneOf(inline=True, host=ManagedHost, sandbox=SandboxSource, publicKey=UnmanagedSource)


class Limits(Model):
    """What one source's account on the relay may use, so that other sources can still back up."""

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
        description="How much it may send to the storage per day (UTC) in GiB, 1 to 1048576. Default: no limit.",
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
        (), description="Patterns of files to leave out, as for restic --exclude.", examples=[["*.tmp"]]
    )
    one_file_system: StrictBool = Field(
        False,
        description="true: leave out other file systems mounted below a path, as restic --one-file-system does.",
    )
    exclude_caches: StrictBool = Field(
        False,
        description="true: leave out folders that contain a CACHEDIR.TAG, as restic --exclude-caches does.",
    )
    exclude_if_present: Annotated[tuple[TagFile, ...], Field(max_length=16)] = Field(
        (),
        description="Names of files that exclude the folder which contains them, as for restic --exclude-if-present.",
        examples=[[".nobackup"]],
    )
    exclude_larger_than: Size | None = Field(
        None,
        description="Leave out files of at least this size, 1M or more, as for restic --exclude-larger-than. Default: no limit.",
        examples=["4G"],
    )
    expect: Expect = Field(
        Expect(), description="When a backup that made a snapshot still needs a person's attention."
    )
    rate: Rate = Field(Rate(), description="How fast scheduled backups may use the network.")
    schedule: Calendar = Field(
        DEFAULT_SCHEDULE, description="When it is backed up: a systemd OnCalendar expression."
    )
    randomized_delay: TimeSpan = Field(
        DEFAULT_DELAY,
        description="Random delay before each run, so that not all sources start at once: a time span.",
    )
    silent_after_hours: Annotated[StrictInt, Field(ge=1, le=MOST_HOURS)] | None = Field(
        None,
        description="Hours without a new snapshot after which it counts as silent, for `lastcopy status`, the "
        "restore test and the alarms. Default: the schedule's longest pause, plus the delay, plus 2 "
        "hours.",
        examples=[28],
    )
    sandboxing: Literal["full", "reduced"] = Field(
        "full",
        description="How the processes of a backup are confined on the source: full, or reduced for a container that "
        "cannot make mount namespaces (see docs/hosts.md); every run warns.",
    )
    pre_hook: Program | None = Field(
        None,
        description="Executable on the source that runs before a backup; if it fails, the backup fails.",
        examples=["/usr/local/sbin/dump-databases"],
    )
    post_hook: Program | None = Field(
        None,
        description="Executable on the source that runs after a backup, in any case.",
        examples=["/usr/local/sbin/after-backup"],
    )
    from_: tuple[Cidr, ...] = Field(
        (),
        alias="from",
        description="Addresses or networks from which the source's key is accepted; empty: any.",
        examples=[["203.0.113.7/32"]],
    )
    cut_off: StrictBool = Field(
        False,
        description="true: the source's key is refused and its sessions end, without access to its host; `from` is kept.",
    )
    generation: Generation = Field(
        1, description="A new number starts a new repository and leaves the old one as it is."
    )
    password: Password | None = Field(
        None,
        description="Secret: the repository's password, at least 20 characters. Default: a new random password.",
        examples=[SECRET],
    )
    identity: Identity | None = Field(None, description="Storage identity of this source alone.")
    identity_generation: Generation = Field(
        1,
        description="With storage.aws: a new number gives the source a new storage key without a gap, then deletes "
        "the old one; a running backup is interrupted and tried again a minute later.",
    )
    limits: Limits = Field(Limits(), description="What this source may use on the relay.")
    restic: Restic = Field(Restic(), description="restic's tuning.")

    @property
    def silent_hours(self) -> int:
        """Hours without a new snapshot after which something is wrong, according to the settings (A8)."""
        return (
            self.silent_after_hours or find_silence_limit(self.schedule, self.randomized_delay) or MOST_HOURS
        )

    @property
    def allowed_from(self) -> tuple[str, ...]:
        """The addresses that the source's key is accepted from; while it is cut off, an address that nobody has."""
        return (NOBODYS_ADDRESS,) if self.cut_off else self.from_

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._refuse_paths_twice()
        yield self._require_paths_for_exceptions()
        yield self._require_limits_for_connections()
        yield self._require_time_for_a_run()

    def _refuse_paths_twice(self) -> Iterator[Finding]:
        for index, path in enumerate(self.paths):
            if path in self.paths[:index]:
                fix = Fix(say="remove one of the two:", remove=True)
                yield Finding(("paths", index), "is in the list twice", "each path once", fix)

    def _require_paths_for_exceptions(self) -> Iterator[Finding]:
        """A typo in ``expect.mayBeEmpty`` would go unnoticed until it matters."""
        for index, given in enumerate(self.expect.may_be_empty):
            if not any(f"{given}/".startswith(f"{path.rstrip('/')}/") for path in self.paths):
                what = "is none of the paths, and is below none"
                yield Finding(
                    ("expect", "mayBeEmpty", index), what, "one of paths, or below one", Fix(remove=True)
                )

    def _require_limits_for_connections(self) -> Iterator[Finding]:
        """If the relay allows less than restic asks for, restic hangs (restic issue 2925), so this is refused."""
        sessions, connections = self.limits.sessions, self.restic.connections
        # An idle Go program of rclone's size has 16 threads; each connection may use one more.
        needs = (
            ("processes", lambda: self.limits.processes, sessions * (16 + connections)),
            ("openFiles", lambda: self.limits.open_files, 64 + 8 * connections),
            ("memoryMiB", lambda: self.limits.memory_mib, 128 + 16 * connections),
        )
        for key, read, least in needs:
            given = read_if_known(read)
            if given is not None and given < least:
                what = f"must be at least {least}, or restic hangs in {sessions} sessions of {connections} connections"
                allowed = f"at least {least}, or fewer restic.connections"
                yield Finding(("limits", key), what, allowed, Fix(value=least))

    def _require_time_for_a_run(self) -> Iterator[Finding]:
        """If the limit were shorter than the pauses of the schedule, silence would be reported every time."""
        given = self.silent_after_hours
        if given is None:
            return
        least = find_silence_limit(self.schedule, self.randomized_delay, margin=0)
        if least is not None and given < least:
            what = f"is {given}, but by its schedule {least} hours may pass between two snapshots"
            allowed = f"at least {least}, and time for the backup itself"
            yield Finding(("silentAfterHours",), what, allowed, Fix(remove=True))
