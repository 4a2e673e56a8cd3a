"""Alternating rounds, and the statistics over them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Contender(Protocol):
    """One way to back up the data. Each round starts with an empty repository (``prepare``)."""

    name: str

    def prepare(self) -> None: ...
    def backup(self) -> None: ...
    def restore(self) -> None: ...
    def clean(self) -> None: ...


@dataclass
class ContenderRounds:
    """All seconds of one contender; index = round, so that ratios compare what ran side by side."""

    name: str
    backup: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)
    backup_cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Spread:
    """Median and extremes of a few rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def ratios(base: Sequence[float], other: Sequence[float]) -> Spread:
    """How many times as fast ``other`` was as ``base``, round by round; above 1 is faster."""
    return Spread.of([one / two for one, two in zip(base, other, strict=True)])


def order(names: Sequence[str], number: int) -> list[str]:
    """The order in a round: each round starts with another contender, and every second one runs backwards, so that neighbours change."""
    shift = number % len(names)
    turned = [*names[shift:], *names[:shift]]
    return turned if number % 2 == 0 else turned[::-1]


def alternate(
    contenders: Sequence[Contender],
    rounds: int,
    clock: Callable[[], float],
    cpu: Callable[[], float],
    *,
    restore: bool,
    said: Callable[[str], None] = lambda _: None,
) -> list[ContenderRounds]:
    """Run every contender once per round. If one fails, the run stops, because a table with gaps compares nothing."""
    rows = {contender.name: ContenderRounds(contender.name) for contender in contenders}
    by_name = {contender.name: contender for contender in contenders}
    for number in range(rounds):
        for name in order(list(by_name), number):
            contender, row = by_name[name], rows[name]
            contender.prepare()
            try:
                began, used = clock(), cpu()
                contender.backup()
                row.backup.append(clock() - began)
                row.backup_cpu.append(cpu() - used)
                if restore:
                    began = clock()
                    contender.restore()
                    row.restore.append(clock() - began)
            finally:
                contender.clean()
            took = f"{row.backup[-1]:.1f} s, {row.backup_cpu[-1]:.1f} s of CPU" + (
                f", restore {row.restore[-1]:.1f} s" if restore else ""
            )
            said(f"round {number + 1} of {rounds}: {name}: {took}")
    return list(rows.values())
