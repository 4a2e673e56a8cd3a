"""Decides what a prune would do with each snapshot, and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from ops.errors import LastcopyError, raise_all
from ops.prune.retention import Arrived, Keep, apply_rules
from ops.prune.suspicion import PlausibleLimits, Snapshot, find_new_paths, find_reasons, judge_clock

ALL_SUSPICIOUS = "suspicious"  # the word that means all of them in --set-aside
MOST_AT_ONCE = 10_000  # the oldest first, so that the note of intent stays small enough to be read
_ID = re.compile(r"[0-9a-f]{8,64}")


class Verdict(Enum):
    KEEP = "keep"
    DROP = "drop"
    SUSPICIOUS = "suspicious"
    ASIDE = "set aside"


@dataclass(frozen=True, kw_only=True)
class SnapshotDecision:
    """The decision on one snapshot. ``why``: the rules that keep it, or what is suspicious. ``new_paths``: no earlier snapshot has these paths.

    ``clock_alone``: suspicious only because of its claimed time. ``accepted``: suspicious for that reason, but a person accepted the time.
    """

    snapshot: Snapshot
    verdict: Verdict
    why: tuple[str, ...]
    new_paths: bool
    clock_alone: bool = False
    accepted: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Every live snapshot, in the order of arrival, oldest first."""

    rows: tuple[SnapshotDecision, ...]

    def of(self, verdict: Verdict) -> list[SnapshotDecision]:
        return [row for row in self.rows if row.verdict is verdict]

    @property
    def drops(self) -> tuple[str, ...]:
        return tuple(row.snapshot.id for row in self.of(Verdict.DROP))[:MOST_AT_ONCE]


def decide(
    snapshots: Sequence[Snapshot],
    keep: Keep,
    limits: PlausibleLimits,
    set_aside: Iterable[str] = (),
    accepted: Collection[str] = (),
) -> Decision:
    """Decide on every snapshot. Suspicious snapshots, set aside or not, neither count for the rules nor are dropped.

    ``snapshots``: oldest arrival first. ``set_aside``: ids or the word for all suspicious ones. ``accepted``: ids whose claimed time a
    person accepted. Raises LastcopyError.
    """
    words = list(set_aside)
    aside = resolve([word for word in words if word != ALL_SUSPICIOUS], snapshots)
    doubts = find_reasons(snapshots, limits, aside, accepted)
    if ALL_SUSPICIOUS in words:
        aside = aside | doubts.keys()
    counted = [one for one in snapshots if one.id not in doubts and one.id not in aside]
    stays = apply_rules((Arrived(id=one.id, at=one.arrived, paths=one.paths) for one in counted), keep)
    fresh = find_new_paths(snapshots)

    def row(one: Snapshot) -> SnapshotDecision:
        if one.id in aside:
            verdict, why = Verdict.ASIDE, doubts.get(one.id, ["set aside by you"])
        elif one.id in doubts:
            verdict, why = Verdict.SUSPICIOUS, doubts[one.id]
        elif one.id in stays:
            verdict, why = Verdict.KEEP, stays[one.id]
        else:
            verdict, why = Verdict.DROP, ["no rule keeps it"]
        clock = judge_clock(one, limits)
        return SnapshotDecision(
            snapshot=one,
            verdict=verdict,
            why=tuple(why),
            new_paths=one.id in fresh,
            clock_alone=verdict is Verdict.SUSPICIOUS and list(why) == [clock],
            accepted=clock is not None and one.id in accepted,
        )

    return Decision(rows=tuple(row(one) for one in snapshots))


def resolve(
    words: Collection[str],
    snapshots: Sequence[Snapshot],
    where: str = "--set-aside",
    word: str = ALL_SUSPICIOUS,
) -> frozenset[str]:
    """Complete abbreviated ids. ``where``: the option; ``word``: the keyword that it also accepts.

    Raises LastcopyError with every word that matches no snapshot or several.
    """
    found: set[str] = set()
    problems = []
    for given in words:
        fitting = [one.id for one in snapshots if _ID.fullmatch(given) and one.id.startswith(given)]
        found.update(fitting)
        if len(fitting) != 1:
            problems.append(
                LastcopyError(
                    f"{len(fitting)} snapshots have the id {given!a}",
                    where=where,
                    allowed=f"8 to 64 hexadecimal digits of one, or the word {word}",
                    fix="take ids from `lastcopy prune plan`",
                )
            )
    raise_all(problems)
    return frozenset(found)
