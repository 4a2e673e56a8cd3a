"""What a drill tells: findings, and the verdict that they add up to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path

from ops.errors import shown

_SEEN = 400


class Level(IntEnum):
    """What an attempt would harm if it succeeded."""

    SAFE = 0  # nothing of value
    THROWAWAY = 1  # the drill's own repository
    TRIAL = 2  # the stack

    @property
    def words(self) -> str:
        return {
            Level.SAFE: "safe anywhere",
            Level.THROWAWAY: "needs a throwaway repository (--throwaway)",
            Level.TRIAL: "would harm the stack if it succeeded (--trial-stack)",
        }[self]


class Outcome(Enum):
    CONTROL = "control"  # what must work, works
    HELD = "held"
    BROKEN = "broken"  # the attack succeeded
    NOT_PLAYED = "not played"
    ERROR = "error"  # the drill could not tell


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One attempt: what was tried, how it ended, and what was seen. ``seen`` is one escaped line."""

    tried: str
    outcome: Outcome
    seen: str


def _finding(tried: str, outcome: Outcome, seen: object) -> Finding:
    return Finding(tried=shown(tried), outcome=outcome, seen=shown(seen, _SEEN))


def judged(tried: str, held: bool, seen: object) -> Finding:
    """An attempt and whether the promise held, with what was observed."""
    return _finding(tried, Outcome.HELD if held else Outcome.BROKEN, seen)


def control(what: str, works: bool, seen: object) -> Finding:
    """What must work for the attempts to mean anything; where it does not, the row is an error and proves nothing."""
    return _finding(what, Outcome.CONTROL if works else Outcome.ERROR, seen)


def not_played(tried: str, why: object) -> Finding:
    return _finding(tried, Outcome.NOT_PLAYED, why)


def failed(tried: str, why: object) -> Finding:
    return _finding(tried, Outcome.ERROR, why)


class Verdict(Enum):
    """Of a row. Only PROVEN is proof; BROKEN and ERROR make the drill fail."""

    PROVEN = "proven"
    IN_PART = "in part"
    NOT_PROVEN = "not proven"
    BROKEN = "BROKEN"
    ERROR = "ERROR"


def verdict(findings: Iterable[Finding]) -> Verdict:
    """The worst counts: broken, then error; a row is proven when every attempt was made and held, and a control worked."""
    outcomes = [finding.outcome for finding in findings]
    if Outcome.BROKEN in outcomes:
        return Verdict.BROKEN
    if Outcome.ERROR in outcomes:
        return Verdict.ERROR
    if Outcome.HELD not in outcomes or Outcome.CONTROL not in outcomes:
        return Verdict.NOT_PROVEN
    return Verdict.IN_PART if Outcome.NOT_PLAYED in outcomes else Verdict.PROVEN


@dataclass(frozen=True, kw_only=True)
class Threat:
    """A row of the threat model, in its own words."""

    id: str
    tries: str
    must: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row as it was played."""

    threat: Threat
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        return verdict(self.findings)

    def count(self, outcome: Outcome) -> int:
        return sum(finding.outcome is outcome for finding in self.findings)

    @property
    def fails(self) -> bool:
        return self.verdict in (Verdict.BROKEN, Verdict.ERROR)

    def first(self, *outcomes: Outcome) -> Finding | None:
        return next((finding for finding in self.findings if finding.outcome in outcomes), None)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The words as they were given."""

    stack: str | None
    source: str | None
    sandbox: Path | None
    storage_key: str | None
    level: Level
    ssh_key: Path | None = None
    config_file: Path | None = None
