"""Which sources are silent, grow too fast or were attacked, from the storage's own times and without a repository password (A8, S10).

With `--hosts` also what the hosts report about their last backup (A9).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console

from ops.access_request import SELECTED_STACK, CommandOptions
from ops.history.timeline import DESTRUCTIVE, SIGNS, Kind, find_acts
from ops.history.versions import LOCKS, Entry, History, area, iso
from ops.status.last_run import LastRun
from ops.storage import checkpoint
from ops.storage.access import DAILY_SILENT_HOURS, RepositoryLocation
from ops.storage.client import AccessRefused, Storage

console = Console(highlight=False)
DAY = timedelta(days=1)
GIB = 1 << 30
MOST_LOCKS = 200  # honest sessions hold one lock each


@dataclass(frozen=True, kw_only=True)
class HealthProblem:
    """One finding that needs attention, and what to do."""

    what: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class SourceHealth:
    """One source as the storage sees it. ``added``: bytes of the last 24 hours, in all its repositories. ``hidden`` and ``overwritten``: objects
    outside locks/ in that time. ``signs``: of an attack, since the last note of a rebuild or prune. ``opens``: configuration and keys are
    visible. ``burst``: snapshots that arrived too close together."""

    source: str
    now: datetime
    newest: datetime | None
    added: int
    hidden: int
    overwritten: int
    signs: dict[Kind, int]
    locks: int
    noted: tuple[datetime, str] | None
    opens: bool
    burst: int
    problems: tuple[HealthProblem, ...]
    last_run: LastRun | None = None  # what its host reports, if it was asked
    options: CommandOptions = SELECTED_STACK  # for the commands in a fix

    def with_last_run(self, run: LastRun | None, limits: HealthLimits) -> SourceHealth:
        """The same source with what its host reports about its last backup."""
        heard = replace(self, last_run=run)
        return replace(heard, problems=tuple(_problems(heard, limits)))

    def later(self, hours: float, limits: HealthLimits) -> SourceHealth:
        """The same source some hours later, with nothing new in the storage."""
        moved = replace(self, now=self.now + timedelta(hours=hours))
        return replace(moved, problems=tuple(_problems(moved, limits)))

    @property
    def silent_hours(self) -> float | None:
        return None if self.newest is None else (self.now - self.newest).total_seconds() / 3600


@dataclass(frozen=True, kw_only=True)
class HealthLimits:
    """When to report a problem."""

    silent_hours: float = DAILY_SILENT_HOURS
    growth_gib: float = 100


def choose_limits(place: RepositoryLocation, silent_hours: float | None, growth_gib: float) -> HealthLimits:
    """The requested limits. Without ``silent_hours``, the limit follows from the source's own schedule."""
    own = place.record.silent_hours if silent_hours is None else silent_hours
    return HealthLimits(silent_hours=own, growth_gib=growth_gib)


def check_source(
    storage: Storage,
    place: RepositoryLocation,
    limits: HealthLimits,
    options: CommandOptions = SELECTED_STACK,
) -> SourceHealth:
    """List the objects below the source's prefix and judge them. No object is read."""
    prefix, _, mine = place.path.rpartition("/")
    whole = list(storage.entries(f"{prefix}/"))
    history = History(
        replace(entry, name=entry.name.removeprefix(f"{mine}/"))
        for entry in whole
        if entry.name.startswith(f"{mine}/")
    )
    try:
        notes = storage.notes(checkpoint.folder(place))
    except AccessRefused:
        notes = []  # a key that is limited to the sources' prefixes cannot read them; then every sign counts
    return judge(place.record.name, whole, history, notes, storage.clock(), limits, options)


def judge(
    source: str,
    whole: list[Entry],
    history: History,
    notes: list[dict[str, Any]],
    now: datetime,
    limits: HealthLimits,
    options: CommandOptions = SELECTED_STACK,
) -> SourceHealth:
    """Judge a listing. Pure."""
    live = history.live()
    noted = checkpoint.find_newest_unverified(history, notes)
    found = [act for act in find_acts(history) if noted is None or act.entry.at > noted[0]]
    today = [act for act in find_acts(history) if act.entry.at > now - DAY]
    seen = SourceHealth(
        source=source,
        now=now,
        newest=max((entry.at for name, entry in live.items() if area(name) == "snapshots"), default=None),
        added=sum(entry.size for entry in whole if entry.at > now - DAY),
        hidden=sum(act.kind is Kind.DELETED for act in today),
        overwritten=sum(act.kind in DESTRUCTIVE - {Kind.DELETED} for act in today),
        signs=dict(Counter(act.kind for act in found if act.kind in SIGNS)),
        locks=sum(name.startswith(LOCKS) for name in live),
        noted=noted,
        opens="config" in live and any(area(name) == "keys" for name in live),
        burst=sum(act.kind is Kind.SNAPSHOTS for act in today),
        problems=(),
        options=options,
    )
    return replace(seen, problems=tuple(_problems(seen, limits)))


def _problems(seen: SourceHealth, limits: HealthLimits) -> list[HealthProblem]:
    name, found = seen.source, []
    cut = f"lastcopy cut-off --source {name} {seen.options.stack}".rstrip()
    recover = f"lastcopy recover look --source {name} {seen.options.storage}".rstrip()
    silent = seen.silent_hours
    if silent is None:
        found.append(
            HealthProblem(
                what="NO SNAPSHOT in the storage",
                fix=f"there was no first backup yet, or somebody hid the snapshots: {recover}",
            )
        )
    elif silent > limits.silent_hours:
        found.append(
            HealthProblem(
                what=f"SILENT for {silent:.0f} h, more than {limits.silent_hours:g} h:"
                f" the storage got its last snapshot at {seen.newest and iso(seen.newest)[:16]}",
                fix="on the source: systemctl status lastcopy-backup",
            )
        )
    if seen.newest is not None and not seen.opens:
        found.append(HealthProblem(what="ITS CONFIGURATION OR ITS KEYS ARE HIDDEN", fix=recover))
    if seen.added > limits.growth_gib * GIB:
        found.append(
            HealthProblem(
                what=f"GROWS TOO FAST: {seen.added / GIB:.1f} GiB in 24 h, more than {limits.growth_gib:g} GiB",
                fix=f"this is a first backup, or somebody is filling the storage: {cut}",
            )
        )
    if seen.signs:
        counts = ", ".join(f"{count} objects {kind.value}" for kind, count in seen.signs.items())
        found.append(
            HealthProblem(
                what=f"SIGNS OF AN ATTACK: {counts}",
                fix=f"{cut}; {recover}. If a prune was interrupted, run it again",
            )
        )
    if seen.burst:
        found.append(
            HealthProblem(what=f"A BURST OF {seen.burst} SNAPSHOTS in 24 h", fix=f"{cut}; {recover}")
        )
    if seen.locks > MOST_LOCKS:
        found.append(HealthProblem(what=f"{seen.locks} LOCKS", fix=f"{cut}; the next prune removes them"))
    if seen.last_run is not None and seen.last_run.alarm:
        found.append(
            HealthProblem(
                what=f"{seen.last_run.alarm} (its host, {seen.last_run.ended})",
                fix='docs/runbook.md, "A backup failed"; on the source: systemctl status lastcopy-backup',
            )
        )
    return found


def as_data(one: SourceHealth) -> dict[str, Any]:
    return {
        "source": one.source,
        "now": iso(one.now),
        "newest": iso(one.newest) if one.newest else None,
        "silentHours": None if one.silent_hours is None else round(one.silent_hours, 2),
        "addedBytes": one.added,
        "hidden": one.hidden,
        "overwritten": one.overwritten,
        "signs": {kind.name.lower(): count for kind, count in one.signs.items()},
        "locks": one.locks,
        "noted": iso(one.noted[0]) if one.noted else None,
        "lastRun": None if one.last_run is None else asdict(one.last_run),
        "problems": [{"what": problem.what, "fix": problem.fix} for problem in one.problems],
    }
