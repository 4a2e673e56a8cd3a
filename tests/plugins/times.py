"""The duration of each group of tests: a table at the end of every run, and docs/test-times.md, which `--write-times` updates.

Seconds are the sum over setup, call and teardown of every test, so two workers need half of that time. No test asserts a time.
"""

from __future__ import annotations

import datetime
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOC = Path("docs/test-times.md")
INTRODUCTION = """\
# What the tests cost

Written by `pytest --write-times`, for what ran; every run prints the same at its end. A whole run has the seconds that passed and those of CPU time: of
pytest and its children, and of the whole machine, which counts sandbox machines and other work, too. A group has the sum over its tests (setup, call,
teardown), so two workers need about half of it. Times tell of a machine as much as of the tests, and of what else it did (its load when the run began):
compare rows of the same machine.

Goals, on two idle cores: the unit tests at most 20 s, `make check` at most 60 s, `make test` at most 18 minutes. `make check` prints what each check took, and
all of them together; measure its second run, which finds mypy's and pytest's caches warm. Where other work runs beside it,
half of its CPU time is more than it would take alone.

"""
HEADER = ("| what | tests | seconds | measured |", "| --- | ---: | ---: | --- |")


@dataclass
class Group:
    """A folder of tests."""

    tests: set[str] = field(default_factory=set)
    seconds: float = 0


class Times:
    """Adds up the durations that tests report; under pytest-xdist, in the process that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self._groups: defaultdict[str, Group] = defaultdict(Group)
        self._config = config
        self._began = time.monotonic()
        self._load = os.getloadavg()[0]
        self._busy = _busy_seconds()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        group = self._groups[Path(report.nodeid.split("::")[0]).parent.as_posix()]
        group.tests.add(report.nodeid)
        group.seconds += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        wall = time.monotonic() - self._began
        terminalreporter.section("time per group", sep="=")
        width = max(map(len, self._groups), default=0)
        for name, group in sorted(self._groups.items(), key=lambda item: -item[1].seconds):
            terminalreporter.write_line(f"{name:{width}} {len(group.tests):6} tests {group.seconds:9.1f} s")
        tests = sum(len(group.tests) for group in self._groups.values())
        spent = os.times()
        cpu = spent.user + spent.system + spent.children_user + spent.children_system
        busy = _busy_seconds() - self._busy
        terminalreporter.write_line(
            f"{'the whole run':{width}} {tests:6} tests {wall:9.1f} s, {cpu:.1f} s of CPU; this machine's CPUs were busy for {busy:.1f} s"
        )
        if self._config.getoption("--write-times"):
            words = [word for word in self._config.invocation_params.args if word != "--write-times"]
            new = {
                f"`{' '.join(['pytest', *map(str, words)])}`": self._row(
                    tests, f"{wall:.0f}; CPU {cpu:.0f}, machine {busy:.0f}"
                )
            }
            for name, group in self._groups.items():
                new[name] = self._row(len(group.tests), f"{group.seconds:.1f}")
            path = self._config.rootpath / DOC
            path.write_text(merged(path.read_text() if path.exists() else "", new, self._config.rootpath))
            terminalreporter.write_line(f"written: {DOC}")

    def _row(self, tests: int, seconds: str) -> str:
        workers = self._config.getoption("numprocesses", None) or 1
        machine = f"{os.cpu_count()} cores, load {self._load:.1f}, {workers} workers"
        return f"| {tests} | {seconds} | {datetime.date.today()}, {machine} |"


def _busy_seconds() -> float:
    """The CPU time of everything that this machine has run since its boot.

    Sandbox machines and servers that the engine started outlive it, so that the time of pytest and its children lacks theirs.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def merged(document: str, measured: dict[str, str], root: Path) -> str:
    """The document with new rows for the groups that ran. Other rows stay, unless their folder no longer exists."""
    rows = {name: row for name, row in _rows(document) if name.startswith("`") or (root / name).is_dir()}
    rows |= measured
    return INTRODUCTION + "\n".join([*HEADER, *(f"| {name} {rows[name]}" for name in sorted(rows))]) + "\n"


def _rows(document: str) -> Iterator[tuple[str, str]]:
    for line in document.splitlines():
        if line.startswith(("| tests/", "| `pytest", "| `make")):
            name = line.split("|")[1].strip()
            yield name, line.removeprefix(f"| {name} ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-times", action="store_true", help=f"write the time per group to {DOC}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Times(config))
