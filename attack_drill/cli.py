"""Play the attacker of every row of the threat model against the running stack, with the attacker's own credentials, and show what held."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from attack_drill import report
from attack_drill.findings import Outcome, RowFinding, RowResult, RowVerdict, Threat
from attack_drill.options import DrillOptions, Level
from attack_drill.threats import THREATS
from ops.command_line import output
from ops.command_line.exit_codes import ExitCode
from ops.command_line.options import StackOptions, takes_options
from ops.command_line.output import JsonOption, console, engine_stream, print_json, say
from ops.errors import LastcopyError, raise_all
from toolchain.checkout import ROOT
from toolchain.files import replace_file

_STYLE = {
    RowVerdict.PROVEN: "green",
    RowVerdict.IN_PART: "yellow",
    RowVerdict.NOT_PROVEN: "yellow",
    RowVerdict.BROKEN: "bold red",
    RowVerdict.ERROR: "bold red",
}


@takes_options
def drill(
    options: StackOptions,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="The source whose root the attacker is. Default: the first one that can be reached.",
        ),
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="S, R, A or single rows, joined by commas. Default: all.")
    ] = None,
    storage_key: Annotated[
        str | None,
        typer.Option(
            "--storage-key",
            help="File with a storage key that may list, read and hide versions: attempts are judged with it. Mode 0600, - for standard input.",
        ),
    ] = None,
    ssh_key: Annotated[
        Path | None,
        typer.Option(
            "--ssh-key",
            help="File with the admin's private key. Default: the one that the stack's settings name.",
        ),
    ] = None,
    scratch: Annotated[
        bool,
        typer.Option(
            "--scratch",
            "--throwaway",
            help="Also make attempts that could destroy data, in repositories that the drill makes itself and removes.",
        ),
    ] = False,
    trial_stack: Annotated[
        bool,
        typer.Option(
            "--trial-stack",
            help="Also make attempts that could harm the stack itself. Refused unless its storage was made for trials. Implies --scratch.",
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="Write the findings to this file, as JSON.")
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Write a report for people to this file: one self-contained page."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every attempt, not only rows.")] = False,
    as_json: JsonOption = False,
    json_file_of_earlier_versions: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Only behind --json, as in earlier versions: the same as --json-file FILE."
        ),
    ] = None,
) -> None:
    """Play the attacker of each row of the threat model against a running stack.

    The exit status is 1 if a row breaks.

    Without --scratch nothing is tried that could do harm if it succeeded, so it may run on production.

    Rows that need more say so and count as not proven. Verdicts are based on what is in the storage and on the hosts afterwards.
    """
    if json_file_of_earlier_versions:
        # `--json FILE`, as earlier versions had it.
        if not as_json or json_file:
            raise typer.BadParameter(f"no argument is taken: {json_file_of_earlier_versions}")
        json_file, as_json = json_file_of_earlier_versions, False
        output.reset()
    level = Level.TRIAL if trial_stack else Level.SCRATCH if scratch else Level.SAFE
    asked = DrillOptions(
        stack=options.stack, source=source, sandbox=options.sandbox, storage_key=storage_key, level=level, ssh_key=ssh_key,
        config_file=options.config_file,
    )  # fmt: skip
    run = _play(asked, rows, verbose=verbose, json_file=json_file, html_file=html_file)
    if as_json:
        print_json(report.as_data(run))
    if any(result.fails for result in run.results):
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)


def _play(
    asked: DrillOptions, rows: str | None, *, verbose: bool, json_file: Path | None, html_file: Path | None
) -> report.DrillRun:
    from attack_drill import runner
    from attack_drill.drill import open_drill
    from ops.stack import choose_stack

    threats = runner.choose_rows(rows)
    raise_all(_wrong(asked.level, asked.storage_key, asked.sandbox, json_file, html_file))
    started = datetime.now(UTC)
    results: list[RowResult] = []
    name, played = asked.stack or "", asked.source or ""

    def so_far() -> report.DrillRun:
        return report.DrillRun(
            stack=name,
            source=played,
            level=asked.level,
            started=started,
            ended=datetime.now(UTC),
            results=tuple(results),
            asked=len(threats),
        )

    try:
        stack = choose_stack(ROOT, asked.stack, sandbox=asked.sandbox, config_file=asked.config_file)
        stack.stream = engine_stream()
        name = stack.name
        with open_drill(asked, stack, say) as running, _bar() as progress:
            played = running.source
            task = progress.add_task("", total=None)

            def on_start(threat: Threat) -> None:
                progress.update(task, description=f"{threat.id}: {threat.tries}"[:100])

            def on_finding(finding: RowFinding) -> None:
                if verbose or finding.outcome in (Outcome.BROKEN, Outcome.ERROR):
                    progress.console.print(_line(finding), soft_wrap=True)

            def on_end(result: RowResult) -> None:
                results.append(result)
                progress.console.print(_summary(result), soft_wrap=True)

            runner.play_rows(running, threats, on_start=on_start, on_finding=on_finding, on_end=on_end)
    finally:
        if results:
            # Readable by their owner only: a report tells an attacker what to try.
            if json_file:
                replace_file(json_file, report.as_json(so_far()))
            if html_file:
                replace_file(html_file, report.as_html(so_far()))
    console.print(_table(results))
    for file in (json_file, html_file):
        if file:
            say(f"written: {file}")
    return so_far()


def _wrong(
    level: Level,
    storage_key: str | None,
    sandbox: Path | None,
    json_file: Path | None,
    html_file: Path | None,
) -> Iterator[LastcopyError]:
    """What is wrong with the options, before anything is connected to."""
    if storage_key and sandbox:
        yield LastcopyError(
            "a local stack has its own storage key", where="--storage-key, --sandbox", allowed="one of them"
        )
    if level > Level.SAFE and not storage_key and not sandbox:
        yield LastcopyError(
            "without a storage key the drill cannot tell whether an attack did harm",
            where="--scratch, --trial-stack",
            fix="give --storage-key with an identity that may list, read and hide versions; for a local stack --sandbox .local/sandbox/local",
        )
    for option, file in (("--json-file", json_file), ("--html", html_file)):
        if file and not file.parent.is_dir():
            yield LastcopyError(
                f"there is no folder {file.parent}",
                where=option,
                fix=f"mkdir -p {shlex.quote(str(file.parent))}",
            )


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _line(finding: RowFinding) -> Text:
    style = {
        Outcome.BROKEN: "bold red",
        Outcome.ERROR: "bold red",
        Outcome.NOT_PLAYED: "yellow",
        Outcome.HELD: "green",
    }
    return Text.assemble(
        "      ",
        (f"{finding.outcome.value:10}", style.get(finding.outcome, "")),
        f" {finding.tried}: {finding.seen}",
    )


def _summary(result: RowResult) -> Text:
    return Text.assemble(
        f"  {result.threat.id:4}", (f"{result.verdict.value:11}", _STYLE[result.verdict]),
        f"{result.count(Outcome.HELD):4} held in {result.seconds:5.1f} s  {result.threat.tries}"[:120],
    )  # fmt: skip


def _table(results: list[RowResult]) -> Table:
    table = Table(title="Attack drill", show_lines=False)
    for name in ("row", "verdict", "held", "not played", "what decided"):
        table.add_column(name)
    for result in results:
        worst = (
            result.first(Outcome.BROKEN) or result.first(Outcome.ERROR) or result.first(Outcome.NOT_PLAYED)
        )
        words = f"{worst.tried}: {worst.seen}" if worst else result.threat.must
        table.add_row(
            result.threat.id, Text(result.verdict.value, _STYLE[result.verdict]), str(result.count(Outcome.HELD)),
            str(result.count(Outcome.NOT_PLAYED)), Text(words[:160]),
        )  # fmt: skip
    proven = sum(result.verdict is RowVerdict.PROVEN for result in results)
    table.caption = (
        f"{proven} of {len(results)} rows played are proven here; the threat model has {len(THREATS)}"
    )
    return table
