"""One running local stack and an attack drill on it, for every row and every row's sabotage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from attack_drill.drill import Drill, open_drill
from attack_drill.findings import Outcome, RowFinding, RowResult, RowVerdict
from attack_drill.options import DrillOptions, Level
from attack_drill.rows import PLAYS
from attack_drill.runner import play_row
from attack_drill.threats import THREATS
from ops.hosts.machines import Machines
from tests.integration.checkout import Running, make_local_stack


@dataclass
class Stage:
    """A local stack and a drill on it. ``machines`` reaches the hosts without SSH, for sabotages; ``play`` plays one row as the command does."""

    running: Running
    drill: Drill

    @property
    def machines(self) -> Machines:
        return self.running.machines

    def play(self, row: str) -> RowResult:
        threat = next(threat for threat in THREATS if threat.id == row)
        return play_row(self.drill, threat, PLAYS[row], lambda _: None)


def told(result: RowResult) -> str:
    """The findings that are neither held nor a control, for an assertion's message."""
    rest = [one for one in result.findings if one.outcome not in (Outcome.HELD, Outcome.CONTROL)]
    return f"{result.threat.id} {result.verdict.value}\n" + "\n".join(map(_line, rest))


def _line(one: RowFinding) -> str:
    return f"  {one.outcome.value}: {one.tried}: {one.seen}"


def broken(result: RowResult) -> set[str]:
    """The attempts that succeeded."""
    return {one.tried for one in result.findings if one.outcome is Outcome.BROKEN}


def broken_lines(result: RowResult) -> str:
    """The attempts that succeeded and what was seen, one per line. Fails unless the row is broken, rather than in error."""
    assert result.verdict is RowVerdict.BROKEN, told(result)
    return "\n".join(f"{one.tried}: {one.seen}" for one in result.findings if one.outcome is Outcome.BROKEN)


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    running = make_local_stack(tmp_path_factory.mktemp("checkout"), "drilled")
    try:
        running.first_up = running.up()
        for name in ("web1", "db1"):
            running.machines.shell(
                name, "mkdir -p /srv && date >/srv/stamp && systemctl start lastcopy-backup.service"
            )
        options = DrillOptions(
            stack="drilled",
            source="web1",
            sandbox=running.machines.directory,
            storage_key=None,
            level=Level.TRIAL,
        )
        with open_drill(options, running.stack, lambda _: None) as made:
            yield Stage(running, made)
    finally:
        running.throw_away()
