"""The way back in place: what to bring back and what to hide, so that the repository is again what it was at a moment. Pure.

No step deletes a version. Each step is safe alone and may be done twice: after a kill at any point a new plan holds what is left.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from ops.errors import LastcopyError
from ops.history.versions import LOCKS, Entry, History, area, iso, same_content


class StepKind(Enum):
    UNHIDE = "take the delete markers off"
    COPY = "copy the good version onto the name"
    HIDE = "hide by a delete marker"


@dataclass(frozen=True, kw_only=True)
class Step:
    """``good``: the version to be shown again (None for HIDE). ``markers``: what stands above it, newest first (for UNHIDE)."""

    kind: StepKind
    name: str
    good: Entry | None = None
    markers: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """``kept``: objects that need nothing."""

    at: datetime
    steps: tuple[Step, ...]
    kept: int

    def of(self, kind: StepKind) -> list[Step]:
        return [step for step in self.steps if step.kind is kind]

    @property
    def copied_bytes(self) -> int:
        return sum(step.good.size for step in self.of(StepKind.COPY) if step.good)

    @property
    def shown_bytes(self) -> int:
        """Of all objects that come back, copied or not."""
        return sum(step.good.size for step in self.steps if step.good)


# What others refer to comes first; what is bogus goes before the configuration opens the door again.
_RANK = {"data": 0, "index": 1, "keys": 2, "snapshots": 3, "other": 4, "config": 6}


def make_plan(
    history: History, at: datetime, *, known_same: Collection[tuple[str, str]] = frozenset()
) -> RebuildPlan:
    """Every step from what stands now to what stood at ``at``.

    ``known_same``: pairs of version ids (now, then) whose content was compared and is the same though the storage's digests differ.
    """
    wanted, now = history.view(at), history.live()
    if "config" not in wanted:
        first = f"; its first object is of {iso(history.first)}" if history.first else ""
        raise LastcopyError(
            f"no repository stood here at {iso(at)}{first}",
            where="--at",
            fix="take a time from `lastcopy recover look`",
        )
    steps, kept = [], 0
    for name, good in wanted.items():
        current = now.get(name)
        if current is not None and (
            current.id == good.id or same_content(current, good) or (current.id, good.id) in known_same
        ):
            kept += 1
        else:
            steps.append(_bring_back(history, good))
    steps += [Step(kind=StepKind.HIDE, name=name) for name in now if name not in wanted]
    steps.sort(key=lambda step: (5 if step.kind is StepKind.HIDE else _RANK[area(step.name)], step.name))
    return RebuildPlan(at=at, steps=tuple(steps), kept=kept)


def _bring_back(history: History, good: Entry) -> Step:
    entries = history.names[good.name]
    above = entries[entries.index(good) + 1 :]
    if above and all(entry.marker for entry in above):
        return Step(kind=StepKind.UNHIDE, name=good.name, good=good, markers=tuple(reversed(above)))
    return Step(kind=StepKind.COPY, name=good.name, good=good)


def find_undecided(found: RebuildPlan, history: History) -> list[tuple[Entry, Entry]]:
    """Pairs (now, then) of the same size whose digests differ: only their content can tell; see ``known_same``."""
    now = history.live()
    return [
        (now[step.name], step.good)
        for step in found.of(StepKind.COPY)
        if step.good and step.name in now and now[step.name].size == step.good.size
    ]


def count_locks(found: RebuildPlan) -> int:
    """How many of the steps hide locks: of backups that run now, or bogus ones."""
    return sum(step.name.startswith(LOCKS) for step in found.of(StepKind.HIDE))
