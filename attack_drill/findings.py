"""Findings, the verdict that a row's findings add up to, and the result of a row. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ops.errors import escape_text

_SEEN_LENGTH = 400


class Outcome(Enum):
    """How an attempt ended."""

    CONTROL = "control"  # what must work, works
    HELD = "held"
    BROKEN = "broken"  # the attack succeeded
    NOT_PLAYED = "not played"
    ERROR = "error"  # the drill could not tell


@dataclass(frozen=True, kw_only=True)
class RowFinding:
    """One attempt: what was tried, how it ended, and what was observed, as one escaped line."""

    tried: str
    outcome: Outcome
    seen: str


def _finding(tried: str, outcome: Outcome, seen: object) -> RowFinding:
    return RowFinding(tried=escape_text(tried), outcome=outcome, seen=escape_text(seen, _SEEN_LENGTH))


def judged(tried: str, held: bool, seen: object) -> RowFinding:
    """An attempt, whether the guarantee held, and what was observed."""
    return _finding(tried, Outcome.HELD if held else Outcome.BROKEN, seen)


def control(what: str, works: bool, seen: object) -> RowFinding:
    """What must work for the attempts to mean anything; if it does not, the row ends as an error."""
    return _finding(what, Outcome.CONTROL if works else Outcome.ERROR, seen)


def not_played(tried: str, why: object) -> RowFinding:
    """An attempt that was not made, and the reason."""
    return _finding(tried, Outcome.NOT_PLAYED, why)


def failed(tried: str, why: object) -> RowFinding:
    """An attempt whose outcome the drill could not tell."""
    return _finding(tried, Outcome.ERROR, why)


class RowVerdict(Enum):
    """What a row's findings prove. Only PROVEN is proof; BROKEN and ERROR make the command fail."""

    PROVEN = "proven"
    IN_PART = "in part"
    NOT_PROVEN = "not proven"
    BROKEN = "BROKEN"
    ERROR = "ERROR"


def reach_verdict(findings: Iterable[RowFinding]) -> RowVerdict:
    """BROKEN outweighs ERROR; a row is PROVEN if a control worked and every attempt was made and held."""
    outcomes = [finding.outcome for finding in findings]
    if Outcome.BROKEN in outcomes:
        return RowVerdict.BROKEN
    if Outcome.ERROR in outcomes:
        return RowVerdict.ERROR
    if Outcome.HELD not in outcomes or Outcome.CONTROL not in outcomes:
        return RowVerdict.NOT_PROVEN
    return RowVerdict.IN_PART if Outcome.NOT_PLAYED in outcomes else RowVerdict.PROVEN


@dataclass(frozen=True, kw_only=True)
class Threat:
    """A row of the threat model: what the attacker tries, and what must happen."""

    id: str
    tries: str
    must: str


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """A row that was played."""

    threat: Threat
    findings: tuple[RowFinding, ...]
    seconds: float

    @property
    def verdict(self) -> RowVerdict:
        return reach_verdict(self.findings)

    def count(self, outcome: Outcome) -> int:
        return sum(finding.outcome is outcome for finding in self.findings)

    @property
    def fails(self) -> bool:
        return self.verdict in (RowVerdict.BROKEN, RowVerdict.ERROR)

    def first(self, *outcomes: Outcome) -> RowFinding | None:
        return next((finding for finding in self.findings if finding.outcome in outcomes), None)
