"""What the benchmark claims about its own figures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from bench.fleet import EngineRun, FleetRow, Watch
from bench.fleet import goals as fleet_goals
from bench.goals import Goal
from bench.report import (
    BEGIN,
    END,
    RECOVERY,
    Report,
    block,
    fleet_block,
    recovery_block,
    recovery_table,
    rewrite,
)
from bench.rounds import ContenderRounds, alternate, order, ratios


@dataclass
class Fake:
    name: str
    seconds: float
    now: list[float]
    log: list[str] = field(default_factory=list)
    fails: bool = False

    def prepare(self) -> None:
        self.log.append("prepare")
        self.now[0] += 100  # outside of what is timed

    def backup(self) -> None:
        self.log.append("backup")
        self.now[0] += self.seconds
        if self.fails:
            raise RuntimeError("no")

    def restore(self) -> None:
        self.now[0] += 2 * self.seconds

    def clean(self) -> None:
        self.log.append("clean")
        self.now[0] += 100


def run(*contenders: Fake, rounds: int = 3) -> list[ContenderRounds]:
    now = contenders[0].now
    return alternate(contenders, rounds, lambda: now[0], lambda: now[0] / 2, restore=True)


def test_only_backup_and_restore_are_timed() -> None:
    now = [0.0]
    one, two = run(Fake("one", 4, now), Fake("two", 5, now))
    assert (one.backup, one.restore, one.backup_cpu) == ([4] * 3, [8] * 3, [2] * 3)
    assert ratios(one.backup, two.backup).median == pytest.approx(0.8)


def test_ratios_compare_only_the_same_round() -> None:
    assert ratios([10, 20], [5, 10]).least == 2  # a machine that became half as fast changes no ratio
    with pytest.raises(ValueError, match="shorter"):
        ratios([10, 20], [5])


def test_all_contenders_run_once_a_round_and_the_first_one_varies() -> None:
    orders = [order(["a", "b", "c"], number) for number in range(4)]
    assert all(sorted(names) == ["a", "b", "c"] for names in orders)
    assert len({names[0] for names in orders}) > 1


def test_a_failing_contender_is_cleaned_up_and_leaves_no_partial_table() -> None:
    broken = Fake("one", 4, [0.0], fails=True)
    with pytest.raises(RuntimeError):
        run(broken)
    assert broken.log == ["prepare", "backup", "clean"]


def report(seconds: float) -> Report:
    rows = [
        ContenderRounds("straight", [8.0], [2.0], [12.0]),
        ContenderRounds("relay", [seconds], [4.0], [16.0]),
    ]
    return Report("2026-01-01", {"cores": "2"}, 1024, 1, rows, [Goal("relay", seconds / 8, 1, "times")], [])


def test_a_missed_goal_is_called_missed() -> None:
    assert "| missed |" in block(report(10))
    assert "| kept |" in block(report(8))


def test_figures_replace_the_old_ones_and_nothing_else() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = rewrite(document, block(report(10)))
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert rewrite(once, block(report(10))) == once
    with pytest.raises(ValueError, match="one line"):
        rewrite("no block", "figures")


def test_a_recovery_is_given_as_a_multiple_of_the_plain_restore_of_the_same_round() -> None:
    rows = [
        ContenderRounds("plain", restore=[2.0, 10.0]),
        ContenderRounds("after the attack", restore=[3.0, 15.0]),
    ]
    assert recovery_table(rows)[2] == ["after the attack", "9.0 (3.0-15.0)", "1.50 (1.50-1.50)"]
    found = Report("2026-01-01", {}, 300, 2, rows, [Goal("recovery", 1.5, 1.3, "times")], [])
    document = f"{BEGIN}\nothers\n{END}\n{RECOVERY[0]}\n{RECOVERY[1]}\n"
    written = rewrite(document, recovery_block(found), RECOVERY)
    assert "| missed |" in written
    assert "others" in written


def fleet_row(megabytes: int) -> FleetRow:
    up = EngineRun(seconds=80, cpu=60, memory=megabytes * 10**6, of_engine=10**8)
    return FleetRow(sources=30, up=up, preview=up, state=62_400)


def test_a_fleets_missed_goals_are_called_missed() -> None:
    row = fleet_row(501)
    written = fleet_block("2026-01-01", {}, [row], fleet_goals(row))
    assert "| 30 | 80.0 | 60.0 | 501 | 100 | 80.0 | 60.0 | 501 | 62 |" in written
    kept = [line.rsplit("|", 2)[1].strip() for line in written.splitlines() if "at most" in line]
    assert kept == ["kept", "missed", "missed"]
    assert [goal.kept for goal in fleet_goals(fleet_row(500))] == [True, True, False]


def test_the_memory_of_a_process_is_that_of_its_children_too() -> None:
    hold = "import sys; data = b'x' * 60_000_000; print('ready', flush=True); sys.stdin.read()"
    shell = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, hold]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        watch = Watch()
        watch.look(process.pid)
        process.stdin.close()
    assert len(watch.most) == 2
    assert sum(watch.most.values()) > 60_000_000 > watch.most[process.pid]
    whole = dict(watch.most)
    watch.look(process.pid)
    assert watch.most == whole, "the most is kept"
