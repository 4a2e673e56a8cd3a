"""Plays rows one after the other. An error in one row is reported as that row's result, and the next row is played."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, RowResult, Threat, failed
from attack_drill.rows import PLAYS, Play
from attack_drill.threats import THREATS
from ops.errors import LastcopyError


def choose_rows(words: str | None) -> list[Threat]:
    """The rows that an option such as ``S1,S2`` or ``S,R3`` names; all of them for None.

    Raises:
        LastcopyError: A name is no row, or there is none.
    """
    if not words:
        return list(THREATS)
    wanted = [word.strip().upper() for word in words.split(",") if word.strip()]
    known = {threat.id for threat in THREATS}
    wrong = [word for word in wanted if word not in known and word not in {"S", "R", "A"}]
    if wrong or not wanted:
        raise LastcopyError(
            f"there is no row {', '.join(wrong)}" if wrong else "it names no row",
            where="--rows",
            allowed=f"S, R, A or any of {', '.join(t.id for t in THREATS)}, separated by commas",
        )
    return [threat for threat in THREATS if threat.id in wanted or threat.id[0] in wanted]


def play_row(drill: Drill, threat: Threat, play: Play, on_finding: Callable[[RowFinding], None]) -> RowResult:
    """Play one row to its end. Whatever stops it is a finding of the row, never a pass."""
    findings: list[RowFinding] = []
    began = time.monotonic()

    def take(finding: RowFinding) -> None:
        findings.append(finding)
        on_finding(finding)

    try:
        for finding in play(drill):
            take(finding)
    except (
        Exception
    ) as error:  # of any kind: it belongs to this row, and the other rows are still to be played
        take(failed("the row was not played to its end", f"{type(error).__name__}: {error}"))
    return RowResult(threat=threat, findings=tuple(findings), seconds=time.monotonic() - began)


def play_rows(
    drill: Drill,
    threats: Sequence[Threat],
    *,
    on_start: Callable[[Threat], None] = lambda _: None,
    on_finding: Callable[[RowFinding], None] = lambda _: None,
    on_end: Callable[[RowResult], None] = lambda _: None,
) -> list[RowResult]:
    """Play rows in the order of the threat model, and report progress through the three callbacks."""
    results = []
    for threat in threats:
        on_start(threat)
        results.append(play_row(drill, threat, PLAYS[threat.id], on_finding))
        on_end(results[-1])
    return results
