"""See what was done to a repository, restore from it as it was, rebuild it in place. No version is ever deleted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ops.errors import LastcopyError, shown
from ops.history.timeline import SIGNS, acts, events
from ops.history.versions import area, iso, parse_moment
from ops.hosts.connection import Door
from ops.recover.onto import Address, door, onto, parse_host
from ops.recover.plan import How, Plan, locks_of
from ops.recover.rebuild import planned
from ops.recover.rebuild import rebuild as carry_out_and_prove
from ops.recover.recovery import Good, Recovery, recovery
from ops.recover.restore import Existing, Here, Place, check_target, choose
from ops.recover.restore import restore as restore_to
from ops.restic.repository import Tools
from ops.verbs.options import (
    Asked,
    GenerationOption,
    IdentityOption,
    KeyOption,
    KitOption,
    LockWasOption,
    PassphraseOption,
    SandboxOption,
    SourceOption,
    StackOption,
    check,
    errors_shown,
    reached,
)

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console(highlight=False)

AtOption = Annotated[
    str | None,
    typer.Option("--at", help="The moment to go back to: UTC, ISO 8601. Default: the last good one."),
]
DamagedOption = Annotated[
    bool, typer.Option("--even-if-damaged", help="Go on where restic's check finds something wrong.")
]
_BUSY_SECONDS = 600


def say(text: str) -> None:
    console.print(f"    {text}", markup=False, soft_wrap=True)


@contextmanager
def words_to_stderr(really: bool) -> Iterator[None]:
    """Within, standard output is free for JSON."""
    before, console.stderr = console.stderr, really
    try:
        yield
    finally:
        console.stderr = before


def human(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def moment_of(at: str | None) -> datetime | None:
    return parse_moment(at, datetime.now(UTC)) if at is not None else None


@contextmanager
def opened(asked: Asked, *, ahead: bool = False, at: datetime | None = None) -> Iterator[Recovery]:
    """The repository with its history, listed with a count of what was seen. ``ahead``, ``at``: as ``recovery`` takes them."""
    check(asked)
    tools = Tools.get()  # first: it may have to come over this machine's own network
    with reached(asked) as access, bar() as progress:
        task = progress.add_task("versions listed", total=None)

        def told(what: str, seen: int) -> None:
            progress.update(task, description=what, completed=seen)

        with recovery(access, tools, say, told, ahead=ahead, at=at) as found:
            progress.stop()
            if found.since:
                say(
                    f"known to be good: {iso(found.since[0])} ({shown(found.since[1])}); older signs do not count"
                )
            yield found


def bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


@app.command()
def look(
    source: SourceOption,
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    storage_key: KeyOption = None,
    sandbox: SandboxOption = None,
    generation: GenerationOption = None,
    lock_was: LockWasOption = None,
) -> None:
    """Show what was done to the repository and the moment that a recovery would go back to. Changes nothing."""
    asked = Asked(
        source=source, stack=stack, kit=kit, passphrase_file=passphrase_file, identity=identity,
        storage_key=storage_key, sandbox=sandbox, generation=generation, lock_was=tuple(lock_was or ()),
    )  # fmt: skip
    with errors_shown(console), opened(asked) as found:
        console.print(timeline(found))
        proposal = found.proposal
        if proposal.at is None:
            say(f"no good moment: {proposal.why}; choose one yourself: --at")
        else:
            say(f"last good moment: {iso(proposal.at)}: {proposal.why}")
        live = found.history.live()
        locks = sum(name.startswith("locks/") for name in live)
        say(f"now {len(live) - locks} objects stand, and {locks} locks")
        say("not checked yet: `restore` and `rebuild` check that moment before they use it")


def timeline(found: Recovery) -> Table:
    """One row for each group of acts. Names are shown escaped: whoever wrote them may be hostile."""
    table = Table(title=Text(f"What the storage remembers of {found.access.path}"))
    for name in ("from (UTC)", "what", "where"):
        table.add_column(name, overflow="fold", no_wrap=name == "from (UTC)")
    for event in events(acts(found.history)):
        size = f", {human(event.size)}" if event.size else ""
        counts = ", ".join(f"{where} {count}" for where, count in event.counts)
        row = (
            f"{iso(event.first)[:19].replace('T', ' ')}\n to {iso(event.last)[11:19]}",
            f"{event.count} {event.kind.value}{size}",
            f"{counts}\nfor example {shown(event.names[0], 48)}",
        )
        old = found.since is not None and event.last <= found.since[0]
        style = "bold red" if event.kind in SIGNS and not old else ""
        table.add_row(*(Text(cell, style=style) for cell in row))
    return table


@app.command()
def restore(
    source: SourceOption,
    target: Annotated[Path, typer.Option("--target", help="Directory that gets the files: new or empty.")],
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Restore onto this host, user@address or user@address:port, by SSH as root or with sudo.",
        ),
    ] = None,
    host_key: Annotated[
        str | None,
        typer.Option("--host-key", help="The public key that it must show. Default: the source's."),
    ] = None,
    jump_host: Annotated[
        str | None,
        typer.Option(
            "--jump-host", help="Dial --host from this jump host, user@address or user@address:port."
        ),
    ] = None,
    jump_host_key: Annotated[
        str | None, typer.Option("--jump-host-key", help="The public key that the jump host must show.")
    ] = None,
    ssh_key: Annotated[
        Path | None,
        typer.Option("--ssh-key", help="File with the admin's private key. Default: the SSH agent."),
    ] = None,
    at: AtOption = None,
    path: Annotated[
        list[str] | None, typer.Option("--path", help="Only this path; may be given several times.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Its id. Default: the one that the storage got last.")
    ] = None,
    existing: Annotated[
        str,
        typer.Option(
            "--existing", help="For a target with files in it: refuse, keep them, or update what differs."
        ),
    ] = "refuse",
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every restored file again and compare.")
    ] = False,
    even_if_damaged: DamagedOption = False,
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    storage_key: KeyOption = None,
    sandbox: SandboxOption = None,
    generation: GenerationOption = None,
    lock_was: LockWasOption = None,
) -> None:
    """Restore from the repository as it was, read-only, to a directory on this machine or back onto a host."""
    asked = Asked(
        source=source, stack=stack, kit=kit, passphrase_file=passphrase_file, identity=identity,
        storage_key=storage_key, sandbox=sandbox, generation=generation, lock_was=tuple(lock_was or ()),
    )  # fmt: skip
    began = time.monotonic()
    with errors_shown(console):
        moment = moment_of(at)
        if existing not in ("refuse", "keep", "update"):
            raise LastcopyError(
                f"{existing!a} is not a way", where="--existing", allowed="refuse, keep or update"
            )
        onto_host = None if host is None else parse_host(host)
        jump = (
            None
            if jump_host is None
            else door(parse_host(jump_host, "--jump-host"), jump_host_key, ssh_key, name="jump-host")
        )
        if onto_host is None:
            check_target(target, cast(Existing, existing), Here())  # first: it must not cost an hour
        elif not target.is_absolute():
            raise LastcopyError(
                f"{shown(target)} is not absolute", where="--target", allowed="an absolute path on the host"
            )
        with placed(asked, moment, onto_host, host_key, ssh_key, jump) as (found, place):
            check_target(target, cast(Existing, existing), place)
            good = found.good(moment, even_if_damaged=even_if_damaged)
            chosen = choose(good, snapshot)
            tell_snapshots(good, chosen)
            with bar() as progress:
                task = progress.add_task("bytes restored", total=None)

                def told(message: dict[str, Any]) -> None:
                    total, done = message.get("total_bytes"), message.get("bytes_restored", 0)
                    progress.update(task, total=total, completed=done)

                done = restore_to(
                    good, chosen, target if host else target.absolute(), paths=path or (), existing=cast(Existing, existing),
                    verify=verify, told=told, place=place,
                )  # fmt: skip
            whole = time.monotonic() - began
            say(f"restored {done.files} files and folders, {human(done.size)}, below {shown(target)}")
            say(
                f"recovery time {whole:.1f} s: {done.seconds:.1f} s restore, {whole - done.seconds:.1f} s search and check"
            )


@contextmanager
def placed(
    asked: Asked,
    moment: datetime | None,
    host: Address | None,
    host_key: str | None,
    ssh_key: Path | None,
    jump: Door | None,
) -> Iterator[tuple[Recovery, Place]]:
    """The repository, and where its files come back to."""
    if host is None:
        with opened(asked, ahead=True, at=moment) as found:
            yield found, Here()
        return
    with ThreadPoolExecutor(1) as home:
        home.submit(int).result()  # the thread begins here, before this one goes to the storage's network
        with (
            opened(asked, ahead=True, at=moment) as found,
            onto(
                door(host, host_key or found.access.room.host_key, ssh_key, jump=jump), found, home
            ) as place,
        ):
            yield found, place


def tell_snapshots(good: Good, chosen: dict[str, Any]) -> None:
    """The chosen one, with all that it claims about itself escaped."""
    paths = ", ".join(shown(path, 60) for path in chosen.get("paths", [])[:4])
    say(
        f"{len(good.snapshots)} snapshots stood then; restic's check of that moment: {'passed' if good.whole else 'FAILED'}"
    )
    say(
        f"snapshot {chosen['id'][:8]}, which says it is of {shown(chosen.get('time', ''), 19)} "
        f"on {shown(chosen.get('hostname', ''), 40)}: {paths}"
    )


@app.command()
def rebuild(
    source: SourceOption,
    at: AtOption = None,
    really: Annotated[
        bool, typer.Option("--really", help="Act. Without it the steps are only shown.")
    ] = False,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="At the end restic reads every byte of the live repository.")
    ] = False,
    even_if_damaged: DamagedOption = False,
    stack: StackOption = None,
    kit: KitOption = None,
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    storage_key: KeyOption = None,
    sandbox: SandboxOption = None,
    generation: GenerationOption = None,
    lock_was: LockWasOption = None,
) -> None:
    """Make the live repository again what it was: bring back what was hidden or overwritten, hide what came later."""
    asked = Asked(
        source=source, stack=stack, kit=kit, passphrase_file=passphrase_file, identity=identity,
        storage_key=storage_key, sandbox=sandbox, generation=generation, lock_was=tuple(lock_was or ()),
    )  # fmt: skip
    with errors_shown(console):
        moment = moment_of(at)
        with opened(asked, ahead=True, at=moment) as found:
            good = found.good(moment, even_if_damaged=even_if_damaged)
            steps = planned(found, good.at)
            tell_plan(found, steps)
            if not really:
                say("nothing was changed; to act: the same with --really")
                return
            with bar() as progress:
                task = progress.add_task("objects set right", total=len(steps.steps))
                done = carry_out_and_prove(
                    found, good, steps, read_data=read_data, told=lambda _: progress.advance(task)
                )
            say(
                f"rebuilt: {done.steps} steps, {human(done.size)} brought back, {done.snapshots} snapshots, {done.seconds:.1f} s"
            )
            say(
                "restic's check of the live repository passes, its snapshots are those of then, no version was deleted"
            )
            if done.noted:
                say("a signed note of this stands in the bucket: the next look counts from here on")


def tell_plan(found: Recovery, steps: Plan) -> None:
    """What would be done, by kind and area."""
    for how in How:
        of = steps.of(how)
        if of:
            areas = Counter(area(step.name) for step in of)
            counts = ", ".join(f"{name} {count}" for name, count in sorted(areas.items()))
            say(f"{how.value}: {len(of)} objects ({counts}), for example {shown(of[0].name, 60)}")
    say(f"as they were: {steps.kept} objects; the storage copies {human(steps.copied_bytes)}")
    if locks_of(steps):
        say(f"{locks_of(steps)} locks are hidden too: no backup may run now")
    last = found.history.last
    if last and (datetime.now(UTC) - last).total_seconds() < _BUSY_SECONDS:
        say(f"somebody wrote as late as {iso(last)}: cut the source off first (docs/runbook.md)")
