"""Play the attacker of every row of the threat model against the running stack, with the attacker's own credentials, and show what held."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from attack_drill.model import Asked, Finding, Level, Outcome, Result, Threat, Verdict
from attack_drill.threats import THREATS
from ops.checkout import ROOT
from ops.errors import RecoverError
from ops.verbs.options import ConfigFileOption, StackOption, errors_shown

console = Console(highlight=False)
_STYLE = {
    Verdict.PROVEN: "green",
    Verdict.IN_PART: "yellow",
    Verdict.NOT_PROVEN: "yellow",
    Verdict.BROKEN: "bold red",
    Verdict.ERROR: "bold red",
}


def drill(
    source: Annotated[
        str | None,
        typer.Option(
            "--source", help="Whose root the attacker is. Default: the first source that can be reached."
        ),
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="S, R, A or single rows, joined by commas. Default: all.")
    ] = None,
    storage_key: Annotated[
        str | None,
        typer.Option(
            "--storage-key",
            help="File with a storage key that may list, read and hide versions: it judges. Mode 0600, - for standard input.",
        ),
    ] = None,
    sandbox: Annotated[
        Path | None,
        typer.Option(
            "--sandbox",
            help="The local stack's folder: the stack is this checkout's own, its storage's root judges.",
        ),
    ] = None,
    stack: StackOption = None,
    config_file: ConfigFileOption = None,
    ssh_key: Annotated[
        Path | None,
        typer.Option(
            "--ssh-key",
            help="File with the admin's private key. Default: the one that the stack's settings name.",
        ),
    ] = None,
    throwaway: Annotated[
        bool,
        typer.Option(
            "--throwaway",
            help="Also what could destroy: on repositories that the drill makes itself and removes.",
        ),
    ] = False,
    trial_stack: Annotated[
        bool,
        typer.Option(
            "--trial-stack",
            help="Also what could harm the stack itself; refused unless its storage is one made for trials. Implies --throwaway.",
        ),
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings there.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a report for people there: one self-contained file.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every attempt, not only rows.")] = False,
) -> None:
    """Play the attacker of each row of the threat model against a running stack; exit status 1 when a row breaks.

    Without --throwaway nothing is tried that could do harm if it succeeded, so it can run on production: rows that need more say so and count
    as not proven. Verdicts rest on what is in the storage and on the hosts afterwards.
    """
    with errors_shown(console, "interrupted; what the drill had made was removed"):
        level = Level.TRIAL if trial_stack else Level.THROWAWAY if throwaway else Level.SAFE
        asked = Asked(
            stack=stack, source=source, sandbox=sandbox, storage_key=storage_key, level=level, ssh_key=ssh_key,
            config_file=config_file,
        )  # fmt: skip
        results = _play(asked, rows, verbose=verbose, json_file=json_file, html_file=html_file)
        if any(result.fails for result in results):
            raise typer.Exit(1)


def _play(
    asked: Asked, rows: str | None, *, verbose: bool, json_file: Path | None, html_file: Path | None
) -> list[Result]:
    from attack_drill import report, runner
    from attack_drill.ground import ground
    from ops.stack import StackError, chosen

    threats = runner.chosen(rows)
    problems = _wrong(asked.level, asked.storage_key, asked.sandbox, json_file, html_file)
    if problems:
        raise RecoverError("\n".join(problems))
    started = datetime.now(UTC)
    results: list[Result] = []
    name, played = asked.stack or "", asked.source or ""
    try:
        stack = chosen(ROOT, asked.stack, sandbox=asked.sandbox, config_file=asked.config_file)
        name = stack.name
        with ground(asked, stack, say) as field, _bar() as progress:
            played = field.source
            task = progress.add_task("", total=None)

            def began(threat: Threat) -> None:
                progress.update(task, description=f"{threat.id}: {threat.tries}"[:100])

            def told(finding: Finding) -> None:
                if verbose or finding.outcome in (Outcome.BROKEN, Outcome.ERROR):
                    progress.console.print(_line(finding), soft_wrap=True)

            def ended(result: Result) -> None:
                results.append(result)
                progress.console.print(_summary(result), soft_wrap=True)

            runner.run(field, threats, began=began, told=told, ended=ended)
    except StackError as error:
        raise RecoverError(str(error), where="--stack") from None
    finally:
        if results:
            run = report.Run(
                stack=name,
                source=played,
                level=asked.level,
                started=started,
                ended=datetime.now(UTC),
                results=tuple(results),
                asked=len(threats),
            )
            if json_file:
                report.write(json_file, report.as_json(run))
            if html_file:
                report.write(html_file, report.as_html(run))
    console.print(_table(results))
    for file in (json_file, html_file):
        if file:
            say(f"written: {file}")
    return results


def _wrong(level: Level, storage_key: str | None, sandbox: Path | None, *files: Path | None) -> list[str]:
    """What can be told of the words alone."""
    problems = []
    if storage_key and sandbox:
        problems.append(
            "the sandbox brings its own storage key\n  where:   --storage-key, --sandbox\n  allowed: one of them"
        )
    if level > Level.SAFE and not storage_key and not sandbox:
        problems.append(
            "without the storage's own view nobody could tell whether an attack did harm\n  where:   --throwaway\n"
            "  fix:     give --storage-key with an identity that may list, read and hide versions; for the local stack --sandbox .local/sandbox/local"
        )
    for file in files:
        if file and not file.parent.is_dir():
            problems.append(f"there is no folder {file.parent}\n  where:   --json, --html")
    return problems


def say(text: str) -> None:
    console.print(f"    {text}", markup=False, soft_wrap=True)


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _line(finding: Finding) -> Text:
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


def _summary(result: Result) -> Text:
    return Text.assemble(
        f"  {result.threat.id:4}", (f"{result.verdict.value:11}", _STYLE[result.verdict]),
        f"{result.count(Outcome.HELD):4} held in {result.seconds:5.1f} s  {result.threat.tries}"[:120],
    )  # fmt: skip


def _table(results: list[Result]) -> Table:
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
    proven = sum(result.verdict is Verdict.PROVEN for result in results)
    table.caption = (
        f"{proven} of {len(results)} rows played are proven here; the threat model has {len(THREATS)}"
    )
    return table
