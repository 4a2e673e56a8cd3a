"""Show what was done to a repository, restore from it as it was, rebuild it in place. No version is ever deleted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table
from rich.text import Text

from ops.access_request import AccessRequest, check_request, open_access
from ops.command_line import output
from ops.command_line.options import RepositoryOptions, takes_options
from ops.command_line.output import JsonOption, human_size, print_json, progress_bar, say
from ops.errors import LastcopyError, escape_text
from ops.history.timeline import SIGNS, find_acts, group_events
from ops.history.versions import LOCKS, area, iso, parse_moment
from ops.hosts.connection import SshEndpoint
from ops.recover.host_target import HostAddress, make_endpoint, open_host_target, parse_host
from ops.recover.plan import RebuildPlan, StepKind, count_locks
from ops.recover.rebuild import Rebuilt, plan_rebuild
from ops.recover.rebuild import rebuild as carry_out_and_prove
from ops.recover.recovery import OpenedMoment, Recovery, open_recovery
from ops.recover.restore import Existing, LocalTarget, RestoreTarget, check_target, choose_snapshot
from ops.recover.restore import restore as restore_to
from ops.restic.repository import Tools

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

AtOption = Annotated[
    str | None,
    typer.Option("--at", help="The moment to go back to: UTC, ISO 8601. Default: the last good one."),
]
DamagedOption = Annotated[
    bool, typer.Option("--even-if-damaged", help="Continue although restic's check finds damage.")
]
_BUSY_SECONDS = 600


def parse_at(at: str | None) -> datetime | None:
    return parse_moment(at, datetime.now(UTC)) if at is not None else None


@contextmanager
def open_repository(
    request: AccessRequest, *, ahead: bool = False, at: datetime | None = None
) -> Iterator[Recovery]:
    """Open the repository and list its history, with a progress bar. ``ahead``, ``at``: see ``open_recovery``."""
    check_request(request)
    tools = Tools.get()  # first: they may have to be downloaded over this machine's own network
    with open_access(request) as access, progress_bar() as progress:
        task = progress.add_task("versions listed", total=None)

        def told(what: str, seen: int) -> None:
            progress.update(task, description=what, completed=seen)

        with open_recovery(access, tools, say, told, ahead=ahead, at=at) as found:
            progress.stop()
            if found.since:
                say(
                    f"known to be good: {iso(found.since[0])} ({escape_text(found.since[1])}); older signs are ignored"
                )
            yield found


@app.command()
@takes_options
def look(repository: RepositoryOptions, as_json: JsonOption = False) -> None:
    """Show what was done to the repository and to which moment a recovery would go back. Changes nothing."""
    with open_repository(repository.access) as found:
        if as_json:
            print_json(look_as_data(found))
            return
        output.console.print(render_timeline(found))
        proposal = found.proposal
        if proposal.at is None:
            say(f"no good moment: {proposal.why}; choose one with --at")
        else:
            say(f"last good moment: {iso(proposal.at)}: {proposal.why}")
        objects, locks = count_live(found)
        say(f"the repository now has {objects} objects and {locks} locks")
        say("this moment is not checked yet: `restore` and `rebuild` check it before they use it")


def count_live(found: Recovery) -> tuple[int, int]:
    """Number of objects and of locks that the repository has now."""
    live = found.history.live()
    locks = sum(name.startswith(LOCKS) for name in live)
    return len(live) - locks, locks


def look_as_data(found: Recovery) -> dict[str, object]:
    """What `look` finds, as JSON. Names are unescaped, as the storage has them."""
    proposal, (objects, locks) = found.proposal, count_live(found)
    return {
        "source": found.access.record.name,
        "repository": found.access.path,
        "knownGood": None if found.since is None else {"at": iso(found.since[0]), "why": found.since[1]},
        "events": [
            {
                "first": iso(event.first),
                "last": iso(event.last),
                "kind": event.kind.name.lower(),
                "sign": event.kind in SIGNS and (found.since is None or event.last > found.since[0]),
                "objects": dict(event.counts),
                "bytes": event.size,
                "examples": list(event.names),
            }
            for event in group_events(find_acts(found.history))
        ],
        "lastGood": None if proposal.at is None else iso(proposal.at),
        "why": proposal.why,
        "objects": objects,
        "locks": locks,
    }


def render_timeline(found: Recovery) -> Table:
    """One row per event. Names are escaped, because an attacker may have chosen them."""
    table = Table(title=Text(f"History of {found.access.path}"))
    for name in ("from (UTC)", "what", "where"):
        table.add_column(name, overflow="fold", no_wrap=name == "from (UTC)")
    for event in group_events(find_acts(found.history)):
        size = f", {human_size(event.size)}" if event.size else ""
        counts = ", ".join(f"{where} {count}" for where, count in event.counts)
        row = (
            f"{iso(event.first)[:19].replace('T', ' ')}\n to {iso(event.last)[11:19]}",
            f"{event.count} {event.kind.value}{size}",
            f"{counts}\nfor example {escape_text(event.names[0], 48)}",
        )
        old = found.since is not None and event.last <= found.since[0]
        style = "bold red" if event.kind in SIGNS and not old else ""
        table.add_row(*(Text(cell, style=style) for cell in row))
    return table


@app.command()
@takes_options
def restore(
    repository: RepositoryOptions,
    target: Annotated[Path, typer.Option("--target", help="Directory to restore to: new or empty.")],
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Restore to this host, user@address or user@address:port, by SSH as root or with sudo.",
        ),
    ] = None,
    host_key: Annotated[
        str | None,
        typer.Option("--host-key", help="The host's public key. Default: the source's."),
    ] = None,
    jump_host: Annotated[
        str | None,
        typer.Option(
            "--jump-host", help="Connect to --host through this jump host, user@address or user@address:port."
        ),
    ] = None,
    jump_host_key: Annotated[
        str | None, typer.Option("--jump-host-key", help="The jump host's public key.")
    ] = None,
    ssh_key: Annotated[
        Path | None,
        typer.Option("--ssh-key", help="File with the admin's private key. Default: the SSH agent."),
    ] = None,
    at: AtOption = None,
    path: Annotated[list[str] | None, typer.Option("--path", help="Only this path; may be repeated.")] = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", help="The snapshot's id. Default: the last one to arrive in the storage."),
    ] = None,
    existing: Annotated[
        str,
        typer.Option(
            "--existing", help="If the target contains files: refuse, keep them, or update those that differ."
        ),
    ] = "refuse",
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every restored file again and compare.")
    ] = False,
    even_if_damaged: DamagedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restore from the repository as it was, read-only, to a directory on this machine or on a host."""
    began = time.monotonic()
    # 1. The options themselves, before any host is contacted.
    moment = parse_at(at)
    way = parse_existing(existing)
    address = None if host is None else parse_host(host)
    jump = find_jump(jump_host, jump_host_key, ssh_key)
    check_here(target, way, address)
    with open_target(repository.access, moment, address, host_key, ssh_key, jump) as (found, place):
        # 2. The target, before the repository takes an hour.
        check_target(target, way, place)
        # 3. The moment, checked by restic, and the snapshot in it.
        good = found.open_moment(moment, even_if_damaged=even_if_damaged)
        chosen = choose_snapshot(good, snapshot)
        tell_snapshots(good, chosen)
        # 4. The files.
        with progress_bar() as progress:
            task = progress.add_task("bytes restored", total=None)

            def told(message: dict[str, Any]) -> None:
                total, done = message.get("total_bytes"), message.get("bytes_restored", 0)
                progress.update(task, total=total, completed=done)

            done = restore_to(
                good, chosen, target if host else target.absolute(), paths=path or (), existing=way,
                verify=verify, told=told, place=place,
            )  # fmt: skip
    whole = time.monotonic() - began
    say(f"restored {done.files} files and folders, {human_size(done.size)}, below {escape_text(target)}")
    say(
        f"recovery time {whole:.1f} s: {done.seconds:.1f} s restore, {whole - done.seconds:.1f} s search and check"
    )
    if as_json:
        print_json(
            {
                "source": repository.source,
                "moment": iso(good.at),
                "checkPassed": good.whole,
                "snapshot": done.snapshot,
                "target": str(target),
                "files": done.files,
                "bytes": done.size,
                "seconds": round(whole, 1),
                "restoreSeconds": round(done.seconds, 1),
            }
        )


def parse_existing(word: str) -> Existing:
    """Parse how to treat existing files in the target."""
    if word not in get_args(Existing):
        raise LastcopyError(f"{word!a} is not allowed", where="--existing", allowed="refuse, keep or update")
    return cast(Existing, word)


def find_jump(host: str | None, key: str | None, ssh_key: Path | None) -> SshEndpoint | None:
    """The endpoint of the named jump host, or None."""
    return (
        None
        if host is None
        else make_endpoint(parse_host(host, "--jump-host"), key, ssh_key, name="jump-host")
    )


def check_here(target: Path, existing: Existing, host: HostAddress | None) -> None:
    """Check the target's path and, on this machine, what is there."""
    if host is None:
        check_target(target, existing, LocalTarget())
    elif not target.is_absolute():
        raise LastcopyError(
            f"{escape_text(target)} is not absolute", where="--target", allowed="an absolute path on the host"
        )


@contextmanager
def open_target(
    request: AccessRequest,
    moment: datetime | None,
    host: HostAddress | None,
    host_key: str | None,
    ssh_key: Path | None,
    jump: SshEndpoint | None,
) -> Iterator[tuple[Recovery, RestoreTarget]]:
    """Open the repository and the place to restore to."""
    if host is None:
        with open_repository(request, ahead=True, at=moment) as found:
            yield found, LocalTarget()
        return
    with ThreadPoolExecutor(1) as home:
        home.submit(int).result()  # start the thread here, before this one moves to the storage's network
        with (
            open_repository(request, ahead=True, at=moment) as found,
            open_host_target(
                make_endpoint(host, host_key or found.access.record.host_key, ssh_key, jump=jump), found, home
            ) as place,
        ):
            yield found, place


def tell_snapshots(good: OpenedMoment, chosen: dict[str, Any]) -> None:
    """Describe the chosen snapshot, with everything that it claims about itself escaped."""
    paths = ", ".join(escape_text(path, 60) for path in chosen.get("paths", [])[:4])
    say(
        f"{len(good.snapshots)} snapshots at that moment; restic's check of it: {'passed' if good.whole else 'FAILED'}"
    )
    say(
        f"snapshot {chosen['id'][:8]}, which claims to be of {escape_text(chosen.get('time', ''), 19)} "
        f"from {escape_text(chosen.get('hostname', ''), 40)}: {paths}"
    )


@app.command()
@takes_options
def rebuild(
    repository: RepositoryOptions,
    at: AtOption = None,
    really: Annotated[
        bool, typer.Option("--really", help="Carry out the steps. Without it they are only shown.")
    ] = False,
    read_data: Annotated[
        bool,
        typer.Option("--read-data", help="Have restic read every byte of the live repository at the end."),
    ] = False,
    even_if_damaged: DamagedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the live repository what it was: bring back what was hidden or overwritten, and hide what came later."""
    moment = parse_at(at)
    with open_repository(repository.access, ahead=True, at=moment) as found:
        # 1. The moment, checked by restic.
        good = found.open_moment(moment, even_if_damaged=even_if_damaged)
        # 2. The steps back to it.
        steps = plan_rebuild(found, good.at)
        tell_plan(found, steps)
        done = None
        if really:
            # 3. The steps carried out, and the result verified.
            with progress_bar() as progress:
                task = progress.add_task("objects restored", total=len(steps.steps))
                done = carry_out_and_prove(
                    found, good, steps, read_data=read_data, told=lambda _: progress.advance(task)
                )
    tell_rebuilt(done)
    if as_json:
        print_json(
            {
                "source": repository.source,
                "moment": iso(good.at),
                "steps": {how.name.lower(): len(steps.of(how)) for how in StepKind},
                "kept": steps.kept,
                "copiedBytes": steps.copied_bytes,
                "locks": count_locks(steps),
                "rebuilt": None if done is None else rebuilt_as_data(done),
            }
        )


def rebuilt_as_data(done: Rebuilt) -> dict[str, object]:
    """The result as JSON."""
    return {
        "steps": done.steps,
        "bytes": done.size,
        "snapshots": done.snapshots,
        "seconds": round(done.seconds, 1),
        "noted": done.noted,
    }


def tell_rebuilt(done: Rebuilt | None) -> None:
    """Describe what was carried out, and how it was verified."""
    if done is None:
        say("nothing was changed; to carry out the steps, repeat the command with --really")
        return
    say(
        f"rebuilt: {done.steps} steps, {human_size(done.size)} brought back, {done.snapshots} snapshots, {done.seconds:.1f} s"
    )
    say(
        "restic's check of the live repository passes, its snapshots are those of that moment, no version was deleted"
    )
    if done.noted:
        say("a signed note in the bucket records this: the next look begins here")


def tell_plan(found: Recovery, steps: RebuildPlan) -> None:
    """Describe the steps, by kind and area."""
    for how in StepKind:
        of = steps.of(how)
        if of:
            areas = Counter(area(step.name) for step in of)
            counts = ", ".join(f"{name} {count}" for name, count in sorted(areas.items()))
            say(f"{how.value}: {len(of)} objects ({counts}), for example {escape_text(of[0].name, 60)}")
    say(f"unchanged: {steps.kept} objects; the storage copies {human_size(steps.copied_bytes)}")
    if count_locks(steps):
        say(f"{count_locks(steps)} locks are hidden as well: no backup may be running now")
    last = found.history.last
    if last and (datetime.now(UTC) - last).total_seconds() < _BUSY_SECONDS:
        say(f"the last write was at {iso(last)}: cut the source off first (docs/runbook.md)")
