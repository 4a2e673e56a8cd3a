"""`lastcopy prune plan|run`: what would be dropped and why; and the trusted prune itself."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ops.command_line import output
from ops.command_line.exit_codes import ExitCode
from ops.command_line.options import RepositoryOptions, takes_options
from ops.command_line.output import JsonOption, human_size, print_json, say
from ops.errors import LastcopyError, escape_text
from ops.history.timeline import SNAPSHOTS_A_DAY
from ops.history.versions import iso
from ops.prune.decision import ALL_SUSPICIOUS, Decision, Verdict
from ops.prune.prune import CLOCK, Outlook, PruneOptions, PruneResult, accept, look_ahead
from ops.prune.prune import prune as carry_out
from ops.prune.retention import Keep, parse_span
from ops.prune.suspicion import LONGEST_BACKUP, PlausibleLimits
from ops.verbs.recover import open_repository, parse_at

_DEFAULT = Keep()


class Action(StrEnum):
    PLAN = "plan"
    RUN = "run"
    ACCEPT = "accept"


@takes_options
def prune(
    repository: RepositoryOptions,
    action: Annotated[
        Action,
        typer.Argument(help="plan only shows and changes nothing; run acts; accept records --snapshot."),
    ] = Action.PLAN,
    keep_last: Annotated[int, typer.Option("--keep-last", help="The newest so many.")] = _DEFAULT.last,
    keep_hourly: Annotated[
        int,
        typer.Option("--keep-hourly", help="The newest of each of so many hours (UTC); the others alike."),
    ] = _DEFAULT.hourly,
    keep_daily: Annotated[int, typer.Option("--keep-daily")] = _DEFAULT.daily,
    keep_weekly: Annotated[int, typer.Option("--keep-weekly")] = _DEFAULT.weekly,
    keep_monthly: Annotated[int, typer.Option("--keep-monthly")] = _DEFAULT.monthly,
    keep_yearly: Annotated[int, typer.Option("--keep-yearly")] = _DEFAULT.yearly,
    keep_within: Annotated[
        str | None, typer.Option("--keep-within", help="All that came within 48h or 14d before the newest.")
    ] = None,
    set_aside: Annotated[
        list[str] | None,
        typer.Option(
            "--set-aside",
            help=f"A snapshot that you looked at, or the word {ALL_SUSPICIOUS}: neither counted nor dropped.",
        ),
    ] = None,
    snapshot: Annotated[
        list[str] | None,
        typer.Option(
            "--snapshot",
            help=f"With accept: one whose source's clock was wrong, or the word {CLOCK} for all that only their time makes suspicious.",
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="A name that the source has or had. Default: that of its first snapshot."
        ),
    ] = None,
    longest_backup: Annotated[
        float, typer.Option("--longest-backup", min=0.1, help="Hours that one backup may take.")
    ] = LONGEST_BACKUP.total_seconds() / 3600,
    most_per_day: Annotated[
        int, typer.Option("--most-per-day", min=1, help="More snapshots within 24 hours are suspicious.")
    ] = SNAPSHOTS_A_DAY,
    seen_until: Annotated[
        str | None,
        typer.Option(
            "--seen-until", help="Signs of an attack up to this moment were looked at: UTC, ISO 8601."
        ),
    ] = None,
    final_read: Annotated[
        bool,
        typer.Option(
            help="Read everything again afterwards. Without: only while the source is cut off.",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Drop old snapshots by the storage's own clock, and what only they needed. Refuses when anything is suspicious. Deletes no version."""
    # 1. The words alone.
    check_snapshots(action, snapshot)
    wishes = PruneOptions(
        keep=Keep(
            last=keep_last, hourly=keep_hourly, daily=keep_daily, weekly=keep_weekly, monthly=keep_monthly,
            yearly=keep_yearly, within=parse_span(keep_within) if keep_within else timedelta(),
        ),
        limits=PlausibleLimits(
            longest_backup=timedelta(hours=longest_backup), most_a_day=most_per_day, hosts=tuple(host or ())
        ),
        set_aside=tuple(set_aside or ()),
        seen_until=parse_at(seen_until),
        final_read=final_read,
    )  # fmt: skip
    with open_repository(repository.access) as reached:
        # 2. What a run would do; with accept, after what is accepted now.
        found = look_ahead(reached, wishes)
        if action is Action.ACCEPT:
            new = accept(found, snapshot or ())
            found = look_ahead(reached, wishes)
            say(
                f"{len(new)} snapshots are accepted from now on: {' '.join(one[:8] for one in new) or 'none'}"
            )
        if not as_json:
            output.console.print(render_table(found.decision))
        # 3. The run itself, which refuses by an error.
        is_refused = bool(list(found.problems()))
        done = None
        if action is Action.RUN and (is_refused or not found.done_already):
            done = carry_out(found)
        if as_json:
            print_json(as_data(found, done))
        else:
            tell(found, done, action)
    if action is not Action.RUN and is_refused:
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def check_snapshots(action: Action, snapshot: list[str] | None) -> None:
    """``--snapshot`` belongs to accept, and accept needs it: nobody accepts by a slip."""
    if (action is Action.ACCEPT) != bool(snapshot):
        raise LastcopyError(
            "says which snapshots are accepted" if snapshot else "is missing: nothing is accepted unnamed",
            where="--snapshot",
            allowed=f"with accept, and there at least one: ids from `lastcopy prune plan`, or the word {CLOCK}",
        )


def tell(found: Outlook, done: PruneResult | None, action: Action) -> None:
    if done is not None:
        say(
            f"pruned: {done.snapshots} snapshots dropped, {done.kept} stand; {done.hidden} objects hidden, {human_size(done.size)}, {done.seconds:.1f} s"
        )
        say(
            "no version was deleted: the space is freed when the lock has expired and the bucket's lifecycle rule acts"
        )
        say(
            "restic's check passes; a signed note stands in the bucket, so that recovery takes the prune for what it is"
        )
        return
    for problem in found.problems():
        output.console.print("a run would be refused:", style="red", end=" ")
        output.console.print(str(problem), markup=False, soft_wrap=True)
    for one in found.intents:
        say(f"a prune that began at {iso(one.at)} did not end; `run` finishes it")
    if found.done_already and not list(found.problems()):
        say("there is nothing to drop; nothing was changed")
    elif action is not Action.RUN:
        say("no snapshot was changed; to act: the same with run")


def render_table(decision: Decision) -> Table:
    """One row a snapshot. All that a snapshot says of itself is escaped."""
    counts = Counter(row.verdict for row in decision.rows)
    summary = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())
    made = Table(title=Text(f"Snapshots by arrival in the storage: {summary or 'none'}"))
    for name in ("id", "arrived (UTC)", "says", "host", "", "why"):
        made.add_column(name, overflow="fold", no_wrap=name in ("id", "arrived (UTC)"))
    styles = {Verdict.DROP: "yellow", Verdict.SUSPICIOUS: "bold red", Verdict.ASIDE: "dim"}
    for row in decision.rows:
        one = row.snapshot
        cells = (
            one.short,
            iso(one.arrived)[:19].replace("T", " "),
            escape_text(one.claimed.isoformat(" ", "seconds"), 25) if one.claimed else "?",
            escape_text(one.host, 24),
            row.verdict.value,
            ", ".join(row.why)
            + ("; its time was accepted" if row.accepted else "")
            + ("; paths that no earlier one had" if row.new_paths else ""),
        )
        made.add_row(*(Text(cell, style=styles.get(row.verdict, "")) for cell in cells))
    return made


def as_data(found: Outlook, done: PruneResult | None) -> dict[str, Any]:
    rows = [
        {
            "id": row.snapshot.id,
            "arrived": iso(row.snapshot.arrived),
            "claims": row.snapshot.claimed.isoformat() if row.snapshot.claimed else None,
            "host": row.snapshot.host,
            "verdict": row.verdict.value,
            "why": list(row.why),
            "newPaths": row.new_paths,
            "accepted": row.accepted,
        }
        for row in found.decision.rows
    ]
    return {
        "source": found.recovery.access.record.name,
        "now": iso(found.now),
        "snapshots": rows,
        "refused": [str(problem) for problem in found.problems()],
        "unfinished": [iso(one.at) for one in found.intents],
        "pruned": None
        if done is None
        else {
            "snapshots": done.snapshots,
            "hidden": done.hidden,
            "bytes": done.size,
            "seconds": round(done.seconds, 1),
        },
    }
