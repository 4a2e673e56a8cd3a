"""Renders the measurements: as a table, as JSON, and as the figures block of docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fleet import FleetRow
from bench.goals import Goal
from bench.rounds import ContenderRounds, Spread, ratios

BEGIN, END = "<!-- figures: written by `python -m bench --write-docs` -->", "<!-- end of figures -->"

FLEET = ("<!-- fleet: written by `python -m bench --fleet --write-docs` -->", "<!-- end of fleet -->")
RECOVERY = (
    "<!-- recovery: written by `python -m bench --recovery --write-docs` -->",
    "<!-- end of recovery -->",
)


@dataclass(frozen=True)
class Report:
    """One run. The first row of ``rows`` is what the others are compared with."""

    date: str
    machine: Mapping[str, str]
    mebibytes: int
    rounds: int
    rows: Sequence[ContenderRounds]
    goals: Sequence[Goal]
    absent: Sequence[str]

    def json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def machine(versions: Mapping[str, str], load: float) -> dict[str, str]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])  # type: ignore[index]
    return {
        "processor": f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}",
        "memory": f"{memory / 2**20:.0f} GiB",
        "kernel": f"Linux {platform.release()}",
        "load before the start": f"{load:.1f}",
        **versions,
    }


def first_line(command: Sequence[str]) -> str:
    """The version that a tool reports."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    said = (done.stdout or done.stderr).strip()
    return said.splitlines()[0] if said else "unknown"


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.least:.{digits}f}-{spread.most:.{digits}f})"


def _compared(mine: Sequence[float], base: Sequence[float]) -> list[str]:
    return [_spread(Spread.of(mine), 1), _spread(ratios(base, mine), 2)] if mine else ["", ""]


def table(report: Report) -> list[list[str]]:
    """Header and lines: seconds, and the speed relative to the first row in the same round."""
    base = report.rows[0]
    lines = [["", "backup, s", "speed", "CPU, s", "restore, s", "speed"]]
    for row in report.rows:
        line = [row.name]
        line += _compared(row.backup, base.backup)
        line.append(f"{Spread.of(row.backup_cpu).median:.1f}")
        line += _compared(row.restore, base.restore)
        lines.append(line)
    return lines


def goal_lines(goals: Sequence[Goal]) -> list[list[str]]:
    lines = [["", "measured", "goal", ""]]
    for goal in goals:
        value, most = (f"{number:.1f} {goal.unit}" for number in (goal.value, goal.at_most))
        lines.append([goal.what, value, f"at most {most}", "kept" if goal.kept else "missed"])
    return lines


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *rest])


def block(report: Report) -> str:
    """The figures as they are written into the docs."""
    facts = "; ".join(f"{name}: {value}" for name, value in report.machine.items())
    parts = [
        f"Measured on {report.date}, {report.mebibytes} MiB of incompressible data, {report.rounds} alternating "
        f"rounds. {facts}.",
        "Seconds and speed: median (least to most) of all rounds. Speed is relative to the first line in the "
        "same round; above 1 is faster. CPU: of the backup, all hosts together, without the kernel's own "
        "network work.",
        _markdown(table(report)),
    ]
    if report.goals:
        parts.append(_markdown(goal_lines(report.goals)))
    parts += [f"Not measured: {reason}" for reason in report.absent]
    return "\n\n".join([BEGIN, *parts, END])


def recovery_table(rows: Sequence[ContenderRounds]) -> list[list[str]]:
    """Seconds, and how many times the first row's time each took in the same round: here less is better."""
    base = rows[0].restore
    lines = [["", "seconds", "times the first"]]
    return lines + [
        [row.name, _spread(Spread.of(row.restore), 1), _spread(ratios(row.restore, base), 2)] for row in rows
    ]


def recovery_block(report: Report) -> str:
    """The recovery's figures as they are written into the docs."""
    facts = "; ".join(f"{name}: {value}" for name, value in report.machine.items())
    head = f"Measured on {report.date}, {report.mebibytes} MiB of incompressible data, {report.rounds} alternating rounds. {facts}."
    parts = [head, _markdown(recovery_table(report.rows)), _markdown(goal_lines(report.goals))]
    return "\n\n".join([RECOVERY[0], *parts, RECOVERY[1]])


def fleet_table(rows: Sequence[FleetRow]) -> list[list[str]]:
    """A line for each number of sources; memory in MB, of all processes and of the engine alone."""
    lines = [
        [
            "sources",
            "up, s",
            "CPU, s",
            "memory, MB",
            "… of the engine",
            "no-op preview, s",
            "CPU, s",
            "memory, MB",
            "state per source, KB",
        ]
    ]
    for row in rows:
        up, preview = row.up, row.preview
        lines.append(
            [
                str(row.sources),
                *(f"{value:.1f}" for value in (up.seconds, up.cpu)),
                *(f"{value / 1e6:.0f}" for value in (up.memory, up.of_engine)),
                *(f"{value:.1f}" for value in (preview.seconds, preview.cpu)),
                *(f"{value:.0f}" for value in (preview.memory / 1e6, row.state / 1e3)),
            ]
        )
    return lines


def fleet_block(
    date: str, machine: Mapping[str, str], rows: Sequence[FleetRow], goals: Sequence[Goal]
) -> str:
    """The fleet's figures as they are written into the docs."""
    facts = "; ".join(f"{name}: {value}" for name, value in machine.items())
    parts = [f"Measured on {date}. {facts}.", _markdown(fleet_table(rows)), _markdown(goal_lines(goals))]
    return "\n\n".join([FLEET[0], *parts, FLEET[1]])


def rewrite(document: str, figures: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """The document with its figures block replaced; it must have exactly one."""
    begin, end = marks
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"the document needs one line {begin!r} and one line {end!r}")
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    return before + figures + after
