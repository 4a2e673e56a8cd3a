"""`python -m bench --help`; what the figures mean: docs/benchmarks.md, docs/decisions/0005-data-path.md."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench import contenders as all_of
from bench import fleet as fleets
from bench import goals as goal
from bench import recovery as recover
from bench import report, sweep
from bench.farm import RELAY, SOURCE, BenchError, Farm, farm
from bench.rounds import alternate, ratios
from toolchain.checkout import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
console = Console(highlight=False)
if not console.is_terminal:
    console.width = 160


def _show(title: str, lines: Sequence[Sequence[str]]) -> None:
    shown = Table(title=title, title_justify="left")
    for number, heading in enumerate(lines[0]):
        shown.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    for line in lines[1:]:
        shown.add_row(*line)
    console.print(shown)


def _versions(stand: Farm) -> dict[str, str]:
    """The versions of everything that took part, as each reports it."""
    return {
        "source and relay": stand.on(SOURCE, ". /etc/os-release; echo $PRETTY_NAME").strip()
        + " in systemd-nspawn",
        "ssh": stand.on(SOURCE, "ssh -V 2>&1").strip(),
        "restic": stand.on(SOURCE, "restic version").split()[1],
        "rclone": stand.on(RELAY, "rclone version").split()[1],
        "borg": report.first_line(["borg", "--version"]),
    }


def run(
    size: Annotated[int, typer.Option(min=16, help="Size of the incompressible test data in MiB.")] = 1024,
    rounds: Annotated[int, typer.Option(min=1, help="How many times every contender runs.")] = 5,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smoke test: 64 MiB, one round. Its figures are meaningless.")
    ] = False,
    restore: Annotated[bool, typer.Option(help="Measure restores as well.")] = True,
    everything: Annotated[
        bool, typer.Option("--all", help="Time `make test` as well (up to 20 minutes).")
    ] = False,
    sweeping: Annotated[
        bool, typer.Option("--sweep", help="Compare the product with one setting changed at a time.")
    ] = False,
    recovery: Annotated[
        bool,
        typer.Option(
            "--recovery",
            help="Only measure a restore after the whole attack, and a plain restore of the same data for comparison.",
        ),
    ] = False,
    fleet: Annotated[
        bool,
        typer.Option(
            "--fleet",
            help="Only: `pulumi up` of 10 and of 30 sources from nothing, against hosts that only answer.",
        ),
    ] = False,
    only: Annotated[str, typer.Option(help="With --sweep: only variants whose names contain this.")] = "",
    network: Annotated[
        str, typer.Option(help="IPv4 range of the bench's machines; default: a free documentation range.")
    ] = "",
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Write the figures into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Compare the relay with restic directly to S3, the plain recipe and borg, and print the figures with their goals."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the farm is removed in this case, too
    if quick:
        size, rounds = 64, 1
    if write_docs and (quick or sweeping):
        console.print("[red]error:[/] --write-docs takes a full run; leave out --quick and --sweep")
        raise typer.Exit(2)
    if fleet:
        _fleet(write_docs=write_docs)
        return
    if recovery:
        _recovery(size, rounds, write_docs=write_docs)
        return
    try:
        found = _measure(
            size,
            rounds,
            restore=restore,
            everything=everything,
            sweeping=sweeping,
            only=only,
            network=network,
        )
    except BenchError as error:
        console.print(f"[red]error:[/] {error}", markup=True)
        raise typer.Exit(1) from None
    (ROOT / ".local").mkdir(exist_ok=True)
    (ROOT / ".local" / "bench.json").write_text(found.json())
    _show(
        f"{size} MiB of incompressible data, {rounds} alternating rounds: median (least to most)",
        report.table(found),
    )
    if found.goals:
        _show("Goals", report.goal_lines(found.goals))
    for reason in found.absent:
        console.print(f"[yellow]not measured:[/] {reason}")
    console.print("; ".join(f"{name}: {value}" for name, value in found.machine.items()))
    if write_docs:
        DOCUMENT.write_text(report.rewrite(DOCUMENT.read_text(), report.block(found)))
        console.print(f"figures written to {DOCUMENT.relative_to(ROOT)}")


def _fleet(*, write_docs: bool) -> None:
    load = os.getloadavg()[0]
    try:
        rows = fleets.measure(fleets.COUNTS, lambda text: console.print(f"    {text}"))
    except BenchError as error:
        console.print(f"[red]error:[/] {error}", markup=True)
        raise typer.Exit(1) from None
    goals, machine = fleets.goals(rows[-1]), report.machine(fleets.parts(), load)
    (ROOT / ".local").mkdir(exist_ok=True)
    (ROOT / ".local" / "bench-fleet.json").write_text(
        json.dumps({"date": _today(), "machine": machine, "rows": [asdict(row) for row in rows]}, indent=2)
        + "\n"
    )
    _show("A fleet from nothing", report.fleet_table(rows))
    _show("Goals", report.goal_lines(goals))
    if write_docs:
        figures = report.fleet_block(_today(), machine, rows, goals)
        DOCUMENT.write_text(report.rewrite(DOCUMENT.read_text(), figures, report.FLEET))
        console.print(f"figures written to {DOCUMENT.relative_to(ROOT)}")


def _recovery(size: int, rounds: int, *, write_docs: bool) -> None:
    load = os.getloadavg()[0]
    try:
        rows = recover.measure(size, rounds, lambda text: console.print(f"    {text}"))
    except BenchError as error:
        console.print(f"[red]error:[/] {error}", markup=True)
        raise typer.Exit(1) from None
    base, ours = rows[0].restore, rows[-1].restore
    goals = [goal.Goal(f"{recover.OURS} / {recover.PLAIN}", ratios(ours, base).median, recover.GOAL, "times")]
    found = report.Report(_today(), report.machine({}, load), size, rounds, rows, goals, [])
    _show(f"{size} MiB, {rounds} alternating rounds: median (least to most)", report.recovery_table(rows))
    _show("Goals", report.goal_lines(goals))
    if write_docs:
        DOCUMENT.write_text(
            report.rewrite(DOCUMENT.read_text(), report.recovery_block(found), report.RECOVERY)
        )
        console.print(f"figures written to {DOCUMENT.relative_to(ROOT)}")


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _measure(
    size: int, rounds: int, *, restore: bool, everything: bool, sweeping: bool, only: str, network: str
) -> report.Report:
    goals: list[goal.Goal] = []
    absent: list[str] = []

    load = os.getloadavg()[0]

    def take(title: str, figure: Callable[[], goal.Goal]) -> None:
        """Measure one figure; if the tests fail, only their own line is missing."""
        console.print(f"[bold]==>[/] {title}")
        try:
            goals.append(figure())
        except BenchError as error:
            absent.append(f"{title}: {str(error).splitlines()[0]}")

    if not sweeping:
        take("unit tests", goal.unit_tests)
    console.print("[bold]==>[/] `make local` in a copy of this checkout, on a network of its own")
    with farm(size, network) as stand:
        if sweeping:
            ways = sweep.contenders(stand, only)
        else:
            goals += goal.of_farm(stand)
            ways, missing = all_of.all_contenders(stand)
            absent += missing
        machine = report.machine(_versions(stand), load)
        console.print(f"[bold]==>[/] {len(ways)} contenders, {rounds} rounds")
        try:
            rows = alternate(
                ways,
                rounds,
                time.monotonic,
                stand.cpu_seconds,
                restore=restore and not sweeping,
                said=lambda text: console.print(f"    {text}"),
            )
        finally:
            for way in ways:
                if isinstance(way, all_of.Borg):
                    way.stop()
    if not sweeping:
        ours = next(row for row in rows if row.name == all_of.OURS)
        for base in (all_of.STRAIGHT, all_of.STRAIGHT_TUNED):
            straight = next(row for row in rows if row.name == base)
            speed = ratios(straight.backup, ours.backup).median
            goals.append(goal.Goal(f"our backup's time / {base}", 1 / speed, 1.0, "times"))
    if everything:
        take("make test", goal.all_tests)
    return report.Report(_today(), machine, size, rounds, rows, goals, absent)


if __name__ == "__main__":
    typer.run(run)
