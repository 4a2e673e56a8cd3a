"""`python -m ops status`: from the storage's own times, and without a repository's password, who fell silent, grows too fast or was attacked (A8, S10).

With `--hosts` also what the hosts say of their last backup (A9).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.last_run import LastRun, last_runs
from ops.recover import checkpoint
from ops.recover.access import DAILY_SILENT_HOURS, Place
from ops.recover.engine import certificate
from ops.recover.errors import RecoverError, shown
from ops.recover.history import LOCKS, Entry, History, area, iso
from ops.recover.options import (
    ROOT,
    Asked,
    ConfigFileOption,
    IdentityOption,
    KeyOption,
    KitOption,
    PassphraseOption,
    SandboxOption,
    StackOption,
    check,
    errors_shown,
    places_reached,
)
from ops.recover.storage import Refused, Storage
from ops.recover.timeline import DESTRUCTIVE, SIGNS, Kind, acts

console = Console(highlight=False)
DAY = timedelta(days=1)
GIB = 1 << 30
MOST_LOCKS = 200  # honest ones stand one at a time for each session


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One loud sentence and what to do."""

    what: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One source as the storage sees it. ``added``: bytes of the last 24 hours, in all its repositories; ``hidden`` and
    ``overwritten``: objects outside locks/ in that time; ``signs``: of an attack, since the last note of a rebuild or prune; ``opens``:
    configuration and keys show; ``burst``: snapshots that came too close together."""

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
    problems: tuple[Problem, ...]
    last_run: LastRun | None = None  # what its host says, where it was asked

    def with_last_run(self, run: LastRun | None, limits: Limits) -> Seen:
        """The same, and what its host says of its last backup."""
        heard = replace(self, last_run=run)
        return replace(heard, problems=tuple(_problems(heard, limits)))

    def later(self, hours: float, limits: Limits) -> Seen:
        """The same storage with nothing new in it, so much later."""
        moved = replace(self, now=self.now + timedelta(hours=hours))
        return replace(moved, problems=tuple(_problems(moved, limits)))

    @property
    def silent_hours(self) -> float | None:
        return None if self.newest is None else (self.now - self.newest).total_seconds() / 3600


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When to be loud."""

    silent_hours: float = DAILY_SILENT_HOURS
    growth_gib: float = 100


def limits_of(place: Place, silent_hours: float | None, growth_gib: float) -> Limits:
    """The limits asked for; where no silence is, the one that follows from the source's own schedule."""
    own = place.room.silent_hours if silent_hours is None else silent_hours
    return Limits(silent_hours=own, growth_gib=growth_gib)


def look(storage: Storage, place: Place, limits: Limits) -> Seen:
    """List the source's room; nothing in it is opened."""
    room, _, mine = place.path.rpartition("/")
    whole = list(storage.entries(f"{room}/"))
    history = History(
        replace(entry, name=entry.name.removeprefix(f"{mine}/"))
        for entry in whole
        if entry.name.startswith(f"{mine}/")
    )
    try:
        notes = storage.notes(checkpoint.folder(place))
    except Refused:
        notes = []  # a key for the sources' rooms alone: then everything counts
    return judge(place.room.name, whole, history, notes, storage.clock(), limits)


def judge(
    source: str,
    whole: list[Entry],
    history: History,
    notes: list[dict[str, Any]],
    now: datetime,
    limits: Limits,
) -> Seen:
    """What the listing means. Pure."""
    live = history.live()
    noted = checkpoint.newest_unproven(history, notes)
    found = [act for act in acts(history) if noted is None or act.entry.at > noted[0]]
    today = [act for act in acts(history) if act.entry.at > now - DAY]
    seen = Seen(
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
    )
    return replace(seen, problems=tuple(_problems(seen, limits)))


def _problems(seen: Seen, limits: Limits) -> list[Problem]:
    name, found = seen.source, []
    cut = f"python -m ops cut-off --source {name} --stack STACK"
    recover = f"python -m ops recover look --source {name}"
    silent = seen.silent_hours
    if silent is None:
        found.append(
            Problem(
                what="NO SNAPSHOT STANDS in the storage",
                fix=f"the first backup is not there yet, or somebody hid them: {recover}",
            )
        )
    elif silent > limits.silent_hours:
        found.append(
            Problem(
                what=f"SILENT for {silent:.0f} h, where {limits.silent_hours:g} are the most:"
                f" the storage got its last snapshot at {seen.newest and iso(seen.newest)[:16]}",
                fix="on the source: systemctl status lastcopy-backup",
            )
        )
    if seen.newest is not None and not seen.opens:
        found.append(Problem(what="ITS CONFIGURATION OR ITS KEYS ARE HIDDEN", fix=recover))
    if seen.added > limits.growth_gib * GIB:
        found.append(
            Problem(
                what=f"GROWS TOO FAST: {seen.added / GIB:.1f} GiB in 24 h, where {limits.growth_gib:g} are expected",
                fix=f"a first backup, or somebody fills the storage: {cut}",
            )
        )
    if seen.signs:
        told = ", ".join(f"{count} objects {kind.value}" for kind, count in seen.signs.items())
        found.append(
            Problem(
                what=f"SIGNS OF AN ATTACK: {told}",
                fix=f"{cut}; {recover}. Was a prune cut off? Then run it again",
            )
        )
    if seen.burst:
        found.append(Problem(what=f"A BURST OF {seen.burst} SNAPSHOTS in 24 h", fix=f"{cut}; {recover}"))
    if seen.locks > MOST_LOCKS:
        found.append(Problem(what=f"{seen.locks} LOCKS STAND", fix=f"{cut}; the next prune removes them"))
    if seen.last_run is not None and seen.last_run.alarm:
        found.append(
            Problem(
                what=f"{seen.last_run.alarm} (its host, {seen.last_run.ended})",
                fix='docs/operations.md, "When a backup fails"; on the source: systemctl status lastcopy-backup',
            )
        )
    return found


def status(
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    storage_key: KeyOption = None,
    sandbox: SandboxOption = None,
    source: Annotated[str, typer.Option("--source", help="Only this one. Default: all.")] = "",
    silent_hours: Annotated[
        float | None,
        typer.Option(
            "--silent-hours",
            min=0,
            help="Longer without a snapshot is a problem. Default: each source's silentAfterHours, from its schedule.",
        ),
    ] = None,
    growth_gib_per_day: Annotated[
        float, typer.Option("--growth-gib-per-day", min=0, help="More in 24 hours is a problem.")
    ] = Limits.growth_gib,
    ask_hosts: Annotated[
        bool,
        typer.Option(
            "--hosts",
            help="Also ask each source's host, by SSH as `pulumi up` does, how its last backup ended: what is in a snapshot the storage cannot see.",
        ),
    ] = False,
    config_file: ConfigFileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Who fell silent, grows too fast or shows signs of an attack. Exit status 1 when anyone does. Uses no repository's password."""
    asked = Asked(
        source=source, stack=stack, kit=kit, passphrase_file=passphrase_file, identity=identity,
        storage_key=storage_key, sandbox=sandbox, generation=None,
    )  # fmt: skip
    errors = Console(stderr=True, highlight=False)
    with errors_shown(errors if as_json else console):
        check(asked)
        # First: for the sandbox's storage this thread leaves the network in which the hosts are.
        runs = _asked_of_hosts(asked, config_file) if ask_hosts else {}
        with places_reached(asked) as places, certificate(next(iter(places.values())).where) as ca:
            seen = []
            for name, place in places.items():
                limits = limits_of(place, silent_hours, growth_gib_per_day)
                seen.append(look(Storage(place, ca), place, limits).with_last_run(runs.get(name), limits))
    if as_json:
        print(json.dumps([as_data(one) for one in seen]))
    else:
        console.print(table(seen))
        for one in seen:
            for problem in one.problems:
                console.print(f"{one.source}: {problem.what}", style="bold red", markup=False, soft_wrap=True)
                console.print(f"    {problem.fix}", markup=False, soft_wrap=True)
    if any(one.problems for one in seen):
        raise typer.Exit(1)


def _asked_of_hosts(asked: Asked, config_file: Path | None) -> dict[str, LastRun]:
    """What each host says of its last backup. ``config_file``: the settings that name the admin's keys, as `pulumi --config-file` takes it."""
    if asked.kit is not None:
        raise RecoverError(
            "a kit does not know how hosts are reached",
            where="--hosts, --kit",
            allowed="--hosts with a stack",
        )
    from ops.stack import StackError, chosen  # imported late: a kit needs no engine

    try:
        stack = chosen(ROOT, asked.stack, sandbox=asked.sandbox, config_file=config_file)
        known = stack.outputs().get("sources", {})
        return last_runs(stack, [asked.source] if asked.source in known else list(known), asked.sandbox)
    except StackError as error:
        raise RecoverError(str(error), where="--stack") from None


def table(seen: list[Seen]) -> Table:
    made = Table(title="The sources as the storage sees them")
    asked = any(one.last_run for one in seen)
    for name in (
        "source", "newest snapshot (UTC)", "hours ago", "added in 24 h", "hidden, overwritten in 24 h", "since the last note",
        *(["its host's last backup"] if asked else []), ""
    ):  # fmt: skip
        made.add_column(name, overflow="fold")
    for one in seen:
        silent = one.silent_hours
        since = f"{sum(one.signs.values())} signs"
        if one.noted:
            # Not proven: the signature needs the password.
            since += f"; {iso(one.noted[0])[:16]} {shown(one.noted[1], 30)} (signature not checked)"
        cells = (
            one.source,
            iso(one.newest)[:16].replace("T", " ") if one.newest else "none",
            "" if silent is None else f"{silent:.1f}",
            f"{one.added / (1 << 20):.1f} MiB",
            f"{one.hidden}, {one.overwritten}",
            since,
            *([_last_run_cell(one.last_run)] if asked else []),
            "PROBLEM" if one.problems else "ok",
        )
        made.add_row(*(Text(cell, style="bold red" if one.problems else "") for cell in cells))
    return made


def _last_run_cell(run: LastRun | None) -> str:
    if run is None:
        return "not reached from here"
    return run.not_read or f"{run.result}, {run.ended[:16].replace('T', ' ')}"


def as_data(one: Seen) -> dict[str, Any]:
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
