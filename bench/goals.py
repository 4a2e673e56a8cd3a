"""The goals of "Speed and size", and how each figure is measured. A missed goal is printed, nothing more."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.farm import BenchError, Farm
from bench.rounds import Spread
from toolchain.checkout import ROOT


@dataclass(frozen=True)
class Goal:
    """One figure and the goal for it, ``at_most``, in the same unit."""

    what: str
    value: float
    at_most: float
    unit: str = "s"

    @property
    def kept(self) -> bool:
        return self.value <= self.at_most


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _pytest(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"tests fail, so their time is meaningless:\n{done.stdout[-2000:]}")


def unit_tests() -> Goal:
    """Time the unit tests as `make check` runs them."""
    return Goal("unit tests", _seconds(lambda: _pytest("-n", "2", "tests/unit")), 20)


def all_tests() -> Goal:
    """Time `make test` without the steps that only the first run on a machine needs."""

    def run() -> None:
        done = subprocess.run(
            ["make", "--old-file=.venv/.ready", f"PY={sys.executable}", "test"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(
                f"make test fails, so its time is meaningless:\n{done.stdout[-2000:]}{done.stderr[-1000:]}"
            )

    return Goal("make test, warm", _seconds(run) / 60, 20, "min")


def of_farm(farm: Farm) -> list[Goal]:
    """`make local` was timed while the farm was built; the preview is the median of three."""
    preview = ("preview", "--stack", "local", "--expect-no-changes")
    previews = [_seconds(lambda: farm.stack.run(*preview, quiet=True)) for _ in range(3)]
    return [
        Goal("make local, warm", farm.local_seconds, 90),
        Goal("… of which pulumi up", farm.up_seconds, 45),
        Goal("no-op preview of the local stack", Spread.of(previews).median, 3),
    ]
