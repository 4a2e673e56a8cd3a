"""Rebuild the live repository in place from its own versions. No version is deleted; every step may be cut off and done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from threading import Lock

from ops.errors import LastcopyError, shown
from ops.history.versions import iso
from ops.recover.plan import How, Plan, Step, plan, undecided
from ops.recover.recovery import Good, Recovery
from ops.storage import checkpoint
from ops.storage.client import WORKERS, Refused, Storage


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """``size``: bytes of all objects that came back; ``noted``: the checkpoint stands, so the next look begins here."""

    steps: int
    size: int
    snapshots: int
    seconds: float
    noted: bool


def planned(recovery: Recovery, at: datetime) -> Plan:
    """What is left to do; pairs of one size with different digests are compared by content."""
    first = plan(recovery.history, at)
    with ThreadPoolExecutor(WORKERS) as pool:
        pairs = undecided(first, recovery.history)
        same = list(pool.map(lambda pair: recovery.storage.same(*pair), pairs))
    known = {(now.id, then.id) for (now, then), is_same in zip(pairs, same, strict=True) if is_same}
    return plan(recovery.history, at, known_same=known)


@dataclass
class _Hands:
    """Carries steps out. Where delete markers may not be taken off, the good version is copied over them instead."""

    storage: Storage
    may_take_off: bool = True
    lock: Lock = field(default_factory=Lock)

    def do(self, step: Step) -> None:
        match step.how:
            case How.HIDE:
                self.storage.hide(step.name)
            case How.UNHIDE if step.good and self._take_off(step):
                return
            case _ if step.good:
                self.storage.copy(step.good)

    def _take_off(self, step: Step) -> bool:
        try:
            for marker in step.markers if self.may_take_off else ():
                self.storage.take_off(marker)
        except Refused:
            with self.lock:
                self.may_take_off = False
        return self.may_take_off


def carry_out(storage: Storage, found: Plan, told: Callable[[Step], None] = lambda _: None) -> None:
    """Every step; one area is finished before the next begins, and the configuration is last."""
    hands = _Hands(storage)

    def one(step: Step) -> None:
        hands.do(step)
        told(step)

    for _, group in groupby(found.steps, key=lambda step: (step.how is How.HIDE, step.name.split("/")[0])):
        with ThreadPoolExecutor(WORKERS) as pool:
            waiting = [pool.submit(one, step) for step in group]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def rebuild(
    recovery: Recovery,
    good: Good,
    found: Plan,
    *,
    read_data: bool = False,
    told: Callable[[Step], None] = lambda _: None,
) -> Rebuilt:
    """Carry the plan out and prove it: nothing is left to do, restic's check passes on what stands now, the snapshots are those of then."""
    began = time.monotonic()
    carry_out(recovery.storage, found, told)
    after = recovery.again()
    _nothing_left(planned(after, good.at))
    answer = after.check(None, read_data=read_data)
    if not answer.ok and good.whole:
        raise LastcopyError(
            f"every object is back, and yet restic's check of the live repository fails:\n{answer.words}",
            fix="run it again with an earlier --at; every version still stands",
        )
    then, now = (
        sorted(one["id"] for one in where) for where in (good.snapshots, after.open(None).snapshots())
    )
    if then != now:
        raise LastcopyError(
            f"the live repository has {len(now)} snapshots, and the one of {iso(good.at)} had {len(then)}: somebody writes to it",
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


def _nothing_left(left: Plan) -> None:
    if not left.steps:
        return
    some = ", ".join(shown(step.name, 80) for step in left.steps[:3])
    raise LastcopyError(
        f"{len(left.steps)} objects are not as they were, for example {some}: somebody writes to the repository, or the storage did not do what it said",
        fix="cut the source off (docs/runbook.md), then run this again: it goes on",
    )


def _note(after: Recovery, good: Good) -> bool:
    try:
        after.storage.write_note(
            *checkpoint.make(after.access, after.history, f"rebuilt as of {iso(good.at)}")
        )
    except LastcopyError as error:
        after.say(f"the rebuild holds, but its note was not written: {error}")
        return False
    return True
