"""Plays rows one after the other; an error in one is told as that row's, and the next is played."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attack_drill.ground import Ground
from attack_drill.model import Finding, Result, Threat, failed
from attack_drill.rows import PLAYS, Play
from attack_drill.threats import THREATS
from ops.errors import RecoverError


def chosen(words: str | None) -> list[Threat]:
    """``S1,S2`` or ``S,R3``; all where nothing is said."""
    if not words:
        return list(THREATS)
    wanted = [word.strip().upper() for word in words.split(",") if word.strip()]
    known = {threat.id for threat in THREATS}
    wrong = [word for word in wanted if word not in known and word not in {"S", "R", "A"}]
    if wrong or not wanted:
        raise RecoverError(
            f"there is no row {', '.join(wrong) or 'in it'}",
            where="--rows",
            allowed=f"S, R, A or of {', '.join(t.id for t in THREATS)}; joined by commas",
        )
    return [threat for threat in THREATS if threat.id in wanted or threat.id[0] in wanted]


def play_row(ground: Ground, threat: Threat, play: Play, told: Callable[[Finding], None]) -> Result:
    """One row to its end. What it could not do is an error of the row, never a pass."""
    findings: list[Finding] = []
    began = time.monotonic()

    def take(finding: Finding) -> None:
        findings.append(finding)
        told(finding)

    try:
        for finding in play(ground):
            take(finding)
    except Exception as error:  # whatever it is, it is this row's, and the other rows are still to be played
        take(failed("the row could not be played to its end", f"{type(error).__name__}: {error}"))
    return Result(threat=threat, findings=tuple(findings), seconds=time.monotonic() - began)


def run(
    ground: Ground,
    threats: Sequence[Threat],
    *,
    began: Callable[[Threat], None] = lambda _: None,
    told: Callable[[Finding], None] = lambda _: None,
    ended: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Every row, in the order of the threat model."""
    results = []
    for threat in threats:
        began(threat)
        results.append(play_row(ground, threat, PLAYS[threat.id], told))
        ended(results[-1])
    return results
