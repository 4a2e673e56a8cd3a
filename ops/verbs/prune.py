"""`lastcopy prune`: shows what would be dropped and why, and carries out the trusted prune."""

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
from ops.command_line.repository import open_repository, parse_at
from ops.errors import LastcopyError, escape_text
from ops.history.timeline import SNAPSHOTS_A_DAY
from ops.history.versions import iso
from ops.prune.decision import ALL_SUSPICIOUS, Decision, Verdict
from ops.prune.prune import CLOCK, Outlook, PruneOptions, PruneResult, accept, look_ahead
from ops.prune.prune import prune as carry_out
from ops.prune.retention import Keep, parse_span
from ops.prune.suspicion import LONGEST_BACKUP, PlausibleLimits

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
        typer.Argument(
            help="plan: show what would be done; run: do it; accept: record --snapshot as honest."
        ),
    ] = Action.PLAN,
    keep_last: Annotated[
        int, typer.Option("--keep-last", help="Keep this many of the newest.")
    ] = _DEFAULT.last,
    keep_hourly: Annotated[
        int,
        typer.Option(
            "--keep-hourly",
            help="Keep the newest of each hour for this many hours (UTC); the others likewise.",
        ),
    ] = _DEFAULT.hourly,
    keep_daily: Annotated[int, typer.Option("--keep-daily")] = _DEFAULT.daily,
    keep_weekly: Annotated[int, typer.Option("--keep-weekly")] = _DEFAULT.weekly,
    keep_monthly: Annotated[int, typer.Option("--keep-monthly")] = _DEFAULT.monthly,
    keep_yearly: Annotated[int, typer.Option("--keep-yearly")] = _DEFAULT.yearly,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            help="Keep everything that arrived within this time before the newest, such as 48h or 14d.",
        ),
    ] = None,
    set_aside: Annotated[
        list[str] | None,
        typer.Option(
            "--set-aside",
            help=f"A snapshot that you have examined, or the word {ALL_SUSPICIOUS}: neither counted nor dropped.",
        ),
    ] = None,
    snapshot: Annotated[
        list[str] | None,
        typer.Option(
            "--snapshot",
            help=f"With accept: one whose source's clock was wrong, or the word {CLOCK} for all that are suspicious only because of their time.",
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
        int,
        typer.Option(
            "--most-per-day", min=1, help="More snapshots than this within 24 hours are suspicious."
        ),
    ] = SNAPSHOTS_A_DAY,
    seen_until: Annotated[
        str | None,
        typer.Option(
            "--seen-until",
            help="Signs of an attack up to this time were examined and are harmless: UTC, ISO 8601.",
        ),
    ] = None,
    final_read: Annotated[
        bool,
        typer.Option(
            help="Read everything again afterwards. Skip this only while the source is cut off.",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Drop old snapshots by the storage's own clock, and the data that only they needed.

    Refuses if anything is suspicious. Deletes no version.
    """
    # 1. The options themselves.
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
        # 2. What a run would do; with accept, after recording the acceptance.
        found = look_ahead(reached, wishes)
        if action is Action.ACCEPT:
            new = accept(found, snapshot or ())
            found = look_ahead(reached, wishes)
            say(f"{len(new)} snapshots newly accepted: {' '.join(one[:8] for one in new) or 'none'}")
        if not as_json:
            output.console.print(render_table(found.decision))
        # 3. The run itself, which raises an error if it is refused.
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
    """Require ``--snapshot`` with accept, and only there, so that nobody accepts a snapshot by mistake."""
    if (action is Action.ACCEPT) != bool(snapshot):
        raise LastcopyError(
            "says which snapshots to accept" if snapshot else "is missing: snapshots to accept must be named",
            where="--snapshot",
            allowed=f"only with accept, and at least once there: ids from `lastcopy prune plan`, or the word {CLOCK}",
        )


def tell(found: Outlook, done: PruneResult | None, action: Action) -> None:
    if done is not None:
        say(
            f"pruned: {done.snapshots} snapshots dropped, {done.kept} kept; {done.hidden} objects hidden, {human_size(done.size)}, {done.seconds:.1f} s"
        )
        say(
            "no version was deleted: the space is freed once the lock has expired and the bucket's lifecycle rule has run"
        )
        say(
            "restic's check passes; a signed note in the bucket tells recovery that the changes are from this prune"
        )
        return
    for problem in found.problems():
        output.console.print("a run would be refused:", style="red", end=" ")
        output.console.print(str(problem), markup=False, soft_wrap=True)
    for one in found.intents:
        say(f"a prune that began at {iso(one.at)} was interrupted; `run` finishes it")
    if found.done_already and not list(found.problems()):
        say("there is nothing to drop; nothing was changed")
    elif action is not Action.RUN:
        say("no snapshot was changed; to do it, run the same command with run")


def render_table(decision: Decision) -> Table:
    """One row per snapshot. Everything that a snapshot claims about itself is escaped."""
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
            + ("; paths that no earlier snapshot has" if row.new_paths else ""),
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
