"""Rebuilds the live repository in place from its own versions. No version is deleted; every step may be interrupted and repeated."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from threading import Lock

from ops.errors import LastcopyError, escape_text
from ops.history.versions import iso
from ops.recover.plan import RebuildPlan, Step, StepKind, find_undecided, make_plan
from ops.recover.recovery import OpenedMoment, Recovery
from ops.storage import checkpoint
from ops.storage.client import WORKERS, AccessRefused, Storage, work_on_each


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """``size``: bytes of all objects brought back. ``noted``: the checkpoint was written, so later searches begin here."""

    steps: int
    size: int
    snapshots: int
    seconds: float
    noted: bool


def plan_rebuild(recovery: Recovery, at: datetime) -> RebuildPlan:
    """The remaining steps. Pairs of equal size with different digests are compared by content."""
    first = make_plan(recovery.history, at)
    with ThreadPoolExecutor(WORKERS) as pool:
        pairs = find_undecided(first, recovery.history)
        same = list(pool.map(lambda pair: recovery.storage.same(*pair), pairs))
    known = {(now.id, then.id) for (now, then), is_same in zip(pairs, same, strict=True) if is_same}
    return make_plan(recovery.history, at, known_same=known)


@dataclass
class _StepRunner:
    """Carries out steps. If delete markers must not be removed, the good version is copied over them instead."""

    storage: Storage
    may_remove_markers: bool = True
    lock: Lock = field(default_factory=Lock)

    def do(self, step: Step) -> None:
        match step.kind:
            case StepKind.HIDE:
                self.storage.hide(step.name)
            case StepKind.UNHIDE if step.good and self._unhide(step):
                return
            case _ if step.good:
                self.storage.copy(step.good)

    def _unhide(self, step: Step) -> bool:
        try:
            for marker in step.markers if self.may_remove_markers else ():
                self.storage.remove_marker(marker)
        except AccessRefused:
            with self.lock:
                self.may_remove_markers = False
        return self.may_remove_markers


def carry_out(storage: Storage, found: RebuildPlan, report: Callable[[Step], None] = lambda _: None) -> None:
    """Carry out every step. Each area is finished before the next begins, and the configuration comes last."""
    hands = _StepRunner(storage)

    def one(step: Step) -> None:
        hands.do(step)
        report(step)

    for _, group in groupby(
        found.steps, key=lambda step: (step.kind is StepKind.HIDE, step.name.split("/")[0])
    ):
        work_on_each(group, one)


def rebuild(
    recovery: Recovery,
    good: OpenedMoment,
    found: RebuildPlan,
    *,
    read_data: bool = False,
    report: Callable[[Step], None] = lambda _: None,
) -> Rebuilt:
    """Carry out the plan and verify the result.

    No step may be left, restic's check of the live repository must pass, and the snapshots must be those of that moment. Raises
    LastcopyError otherwise.
    """
    began = time.monotonic()
    carry_out(recovery.storage, found, report)
    after = recovery.reload()
    _nothing_left(plan_rebuild(after, good.at))
    answer = after.check(None, read_data=read_data)
    if not answer.ok and good.whole:
        raise LastcopyError(
            f"every object was brought back, but restic's check of the live repository fails:\n{answer.words}",
            fix="run it again with an earlier --at; no version was deleted",
        )
    then, now = (
        sorted(one["id"] for one in where) for where in (good.snapshots, after.open(None).snapshots())
    )
    if then != now:
        raise LastcopyError(
            f"the live repository has {len(now)} snapshots, but had {len(then)} at {iso(good.at)}: somebody is writing to it",
            fix="cut the source off (docs/runbook.md), then run this again",
        )
    noted = good.whole and _note(after, good)
    return Rebuilt(
        steps=len(found.steps),
        size=found.shown_bytes,
        snapshots=len(now),
        seconds=time.monotonic() - began,
        noted=noted,
    )


def _nothing_left(left: RebuildPlan) -> None:
    if not left.steps:
        return
    some = ", ".join(escape_text(step.name, 80) for step in left.steps[:3])
    raise LastcopyError(
        f"{len(left.steps)} objects are not as they were, for example {some}: somebody is writing to the repository, or the storage lost writes",
        fix="cut the source off (docs/runbook.md), then run this again: it continues",
    )


def _note(after: Recovery, good: OpenedMoment) -> bool:
    try:
        after.storage.write_note(
            *checkpoint.make(after.access, after.history, f"rebuilt as of {iso(good.at)}")
        )
    except LastcopyError as error:
        after.say(f"the rebuild is complete, but its note was not written: {error}")
        return False
    return True
