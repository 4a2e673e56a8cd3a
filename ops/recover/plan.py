"""The rebuild plan: what to bring back and what to hide so that the repository is again as it was at a moment. Pure.

No step deletes a version. Each step is safe on its own and may be repeated: after an interruption, a new plan contains what is left to do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from ops.errors import LastcopyError
from ops.history.versions import LOCKS, Entry, History, area, iso, same_content


class StepKind(Enum):
    UNHIDE = "remove the delete markers"
    COPY = "copy the good version to its name"
    HIDE = "hide with a delete marker"


@dataclass(frozen=True, kw_only=True)
class Step:
    """``good``: the version to bring back (None for HIDE). ``markers``: the delete markers above it, newest first (for UNHIDE)."""

    kind: StepKind
    name: str
    good: Entry | None = None
    markers: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """``kept``: number of objects that need no change."""

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
        """The size of all objects that are brought back, copied or not."""
        return sum(step.good.size for step in self.steps if step.good)


# Objects that others refer to come first. Bogus objects are hidden before the configuration makes the repository usable again.
_RANK = {"data": 0, "index": 1, "keys": 2, "snapshots": 3, "other": 4, "config": 6}


def make_plan(
    history: History, at: datetime, *, known_same: Collection[tuple[str, str]] = frozenset()
) -> RebuildPlan:
    """Every step from the current state to the state at ``at``. Raises LastcopyError if there was no repository.

    ``known_same``: pairs of version ids (now, then) whose content was compared and is equal although the digests differ.
    """
    wanted, now = history.view(at), history.live()
    if "config" not in wanted:
        first = f"; its first object is of {iso(history.first)}" if history.first else ""
        raise LastcopyError(
            f"there was no repository here at {iso(at)}{first}",
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
    """Pairs (now, then) of equal size but different digests: only their content can decide; see ``known_same``."""
    now = history.live()
    return [
        (now[step.name], step.good)
        for step in found.of(StepKind.COPY)
        if step.good and step.name in now and now[step.name].size == step.good.size
    ]


def count_locks(found: RebuildPlan) -> int:
    """How many steps hide restic's locks: those of running backups, or bogus ones."""
    return sum(step.name.startswith(LOCKS) for step in found.of(StepKind.HIDE))
