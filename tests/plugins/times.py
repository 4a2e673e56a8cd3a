"""What each group of tests costs: a table at the end of every run, and docs/test-times.md, which `--write-times` brings up to date.

Seconds are the sum over setup, call and teardown of every test, so two workers need half of it. No test asserts a time.
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

Written by `pytest --write-times`, for the groups that ran; every run prints the same table at its end. Seconds of a group are the sum over its tests (setup,
call, teardown), so two workers need about half of them. Times tell of a machine as much as of the tests: compare rows that were measured on the same one.

"""


@dataclass
class Group:
    """A folder of tests."""

    tests: set[str] = field(default_factory=set)
    seconds: float = 0


class Times:
    """Adds up what every test reports; under pytest-xdist, in the process that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self._groups: defaultdict[str, Group] = defaultdict(Group)
        self._config = config
        self._began = time.monotonic()

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
        terminalreporter.write_line(
            f"{'the whole run':{width}} {tests:6} tests {wall:9.1f} s, {cpu:.1f} s of CPU"
        )
        if self._config.getoption("--write-times"):
            path = self._config.rootpath / DOC
            path.write_text(
                merged(
                    path.read_text() if path.exists() else "",
                    self._measured(),
                    self._on(),
                    self._config.rootpath,
                )
            )
            terminalreporter.write_line(f"written: {DOC}")

    def _measured(self) -> dict[str, tuple[int, float]]:
        return {name: (len(group.tests), group.seconds) for name, group in self._groups.items()}

    def _on(self) -> str:
        workers = self._config.getoption("numprocesses", None) or 1
        return f"{datetime.date.today()}, {os.cpu_count()} cores, {workers} workers"


def merged(document: str, measured: dict[str, tuple[int, float]], on: str, root: Path) -> str:
    """The document with new rows for the groups that ran; of the others, those whose folder still exists stay as they were."""
    rows = {name: row for name, row in _rows(document) if (root / name).is_dir()} | {
        name: f"| {name} | {tests} | {seconds:.1f} | {on} |" for name, (tests, seconds) in measured.items()
    }
    table = ["| group | tests | seconds | measured |", "| --- | ---: | ---: | --- |"]
    return INTRODUCTION + "\n".join([*table, *(rows[name] for name in sorted(rows))]) + "\n"


def _rows(document: str) -> Iterator[tuple[str, str]]:
    for line in document.splitlines():
        if line.startswith("| tests/"):
            yield line.split("|")[1].strip(), line


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-times", action="store_true", help=f"write the time per group to {DOC}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Times(config))
