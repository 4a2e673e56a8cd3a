"""See what was done to a repository, restore from it as it was, or rebuild it in place. No version is ever deleted."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ops.command_line import output
from ops.command_line.options import AtOption, DamagedOption, RepositoryOptions, takes_options
from ops.command_line.output import JsonOption, human_size, print_json, progress_bar, say
from ops.command_line.repository import open_repository, parse_at
from ops.errors import escape_text
from ops.history.timeline import SIGNS, find_acts, group_events
from ops.history.versions import LOCKS, area, iso
from ops.recover.plan import RebuildPlan, StepKind, count_locks
from ops.recover.rebuild import Rebuilt, plan_rebuild
from ops.recover.rebuild import rebuild as carry_out_and_verify
from ops.recover.recovery import Recovery
from ops.verbs.recover_restore import restore

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_BUSY_SECONDS = 600


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


app.command()(restore)


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
                done = carry_out_and_verify(
                    found, good, steps, read_data=read_data, report=lambda _: progress.advance(task)
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
