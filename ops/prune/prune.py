"""The trusted prune: checks first and refuses as a whole, then hides what no rule keeps. No version is deleted. The next run finishes an interrupted one.

In order: nothing suspicious and no sign of an attack; no young lock; every pack read and checked; a signed note of intent; `restic forget`
with exactly these ids; `restic prune`; what was hidden is compared with the intent; every pack read again; a signed checkpoint. The second
read is needed because a source may write a poisoned index while restic prunes: then the check fails, and every version still exists.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from ops.errors import LastcopyError, escape_text, raise_all
from ops.history.timeline import SIGNS, Act, find_acts, group_events
from ops.history.versions import LOCKS, History, area, iso
from ops.prune import acceptance, intent, locks
from ops.prune.decision import Decision, Verdict, decide, resolve
from ops.prune.intent import Intent
from ops.prune.retention import Keep
from ops.prune.suspicion import PlausibleLimits, read_snapshots
from ops.recover.recovery import Recovery
from ops.restic.repository import ResticResult
from ops.storage import checkpoint
from ops.storage.client import AccessRefused

_IDS_AT_ONCE = 200  # the length of an argument vector is limited


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What the operator asked for. ``seen_until``: signs up to then were examined and are harmless.

    ``final_read``: read everything again after the prune. Without it, every source that can write must be cut off during the prune.
    """

    keep: Keep
    limits: PlausibleLimits
    set_aside: tuple[str, ...] = ()
    seen_until: datetime | None = None
    final_read: bool = True


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The current state of a repository, and what a run would do. ``now``: the storage's time."""

    recovery: Recovery
    wishes: PruneOptions
    now: datetime
    decision: Decision
    intents: tuple[Intent, ...]
    accepted: frozenset[str] = frozenset()

    @cached_property
    def signs(self) -> list[Act]:
        """Signs of an attack since the last moment known to be good. Changes by our own unfinished prune are not included."""
        known = self.recovery.since[0] if self.recovery.since else None
        since = max((one for one in (known, self.wishes.seen_until) if one), default=None)
        return [
            act
            for act in find_acts(self.recovery.history)
            if act.kind in SIGNS
            and (since is None or act.entry.at > since)
            and not any(one.excuses(act) for one in self.intents)
        ]

    @property
    def done_already(self) -> bool:
        return not self.decision.drops and not self.intents

    def problems(self) -> Iterator[LastcopyError]:
        """Everything that forbids a run, except locks, which are checked only when it is about to start."""
        if self.signs:
            yield _signs(self.signs)
        doubted = self.decision.of(Verdict.SUSPICIOUS)
        if doubted:
            by_reason: dict[str, list[str]] = {}
            for row in doubted:
                by_reason.setdefault("; ".join(row.why), []).append(row.snapshot.short)
            lines = "".join(f"\n    {' '.join(ids)}: {why}" for why, ids in by_reason.items())
            yield LastcopyError(
                f"{len(doubted)} snapshots are suspicious:{lines}",
                where=self.recovery.access.path,
                fix=(
                    "find out who made them. If they are honest and the source's clock was wrong: `lastcopy prune accept --snapshot ID`, once. Other honest "
                    "ones: --set-aside ID keeps them and leaves them out of the rules; for a new host name: --host. "
                    "If they are forged: cut the source off, then hide them with `lastcopy recover rebuild --at` the time before they arrived"
                ),
            )
        if not any(row.snapshot.readable for row in self.decision.rows):
            yield LastcopyError(
                "there is no readable snapshot",
                where=self.recovery.access.path,
                fix="lastcopy recover look",
            )


def _signs(found: Sequence[Act]) -> LastcopyError:
    return LastcopyError(
        f"something was done to this repository that no backup does; examine it first:{_lines(found)}",
        fix="lastcopy recover look; then `recover rebuild`, or, if it is harmless, --seen-until the time of the last line",
    )


def look_ahead(recovery: Recovery, wishes: PruneOptions) -> Outlook:
    """Find out what a run would do, without changing anything."""
    access = recovery.access
    try:
        notes = recovery.storage.notes(intent.folder(access))
        accepted = acceptance.read_accepted(access, recovery.storage.notes(acceptance.folder(access)))
    except AccessRefused:
        # A key without access to the notes cannot run a prune, but can show a plan.
        notes, accepted = [], frozenset()
    since = recovery.since[0] if recovery.since else None
    stored = {
        name.removeprefix("snapshots/"): next(e.at for e in recovery.history.names[name] if not e.marker)
        for name in recovery.history.live()
        if area(name) == "snapshots"
    }
    snapshots = read_snapshots(stored, recovery.open(None).snapshots() if stored else ())
    return Outlook(
        recovery=recovery,
        wishes=wishes,
        now=recovery.storage.clock(),
        decision=decide(snapshots, wishes.keep, wishes.limits, wishes.set_aside, accepted),
        intents=intent.find_unfinished(access, recovery.history, since, notes),
        accepted=accepted,
    )


CLOCK = "clock"  # the word for all snapshots that are suspicious only because of their claimed time


def accept(found: Outlook, asked: Sequence[str]) -> tuple[str, ...]:
    """Record permanently that the wrong times of these snapshots are honest mistakes. Returns the newly accepted ids.

    If anything else about one of them is suspicious, nothing is recorded and LastcopyError is raised.
    """
    rows = found.decision.rows
    fitting = [row.snapshot.id for row in rows if row.clock_alone]
    wanted = resolve(
        [one for one in asked if one != CLOCK], [row.snapshot for row in rows], "--snapshot", CLOCK
    )
    raise_all(
        [
            LastcopyError(
                f"{row.snapshot.short} cannot be accepted: {'; '.join(row.why)}",
                where="--snapshot",
                allowed="snapshots of which only the claimed time is suspicious",
                fix="see `lastcopy prune plan`",
            )
            for row in rows
            if row.snapshot.id in wanted and not row.clock_alone and not row.accepted
        ]
    )
    new = sorted((wanted | (set(fitting) if CLOCK in asked else set())) - found.accepted)[: acceptance.MOST]
    if new:
        standing = {row.snapshot.id for row in rows}
        earlier = sorted(found.accepted & standing)[
            : acceptance.MOST - len(new)
        ]  # the newest note holds all accepted ids
        key, note = acceptance.make(found.recovery.access, {*earlier, *new}, found.now)
        found.recovery.storage.write_note(key, note, what="the note of what was accepted")
    return tuple(new)


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """``hidden``, ``size``: objects and bytes behind new delete markers, without restic's locks. ``kept``: snapshots that remain."""

    snapshots: int
    kept: int
    hidden: int
    size: int
    seconds: float


def prune(found: Outlook) -> PruneResult:
    """Carry out the prune. It is decided before the first change whether everything or nothing is done; an interrupted run can be repeated."""
    began = time.monotonic()
    recovery, say = found.recovery, found.recovery.say
    standing = locks.sort_locks(
        recovery.history, found.now, lambda entry: locks.is_left_by_dead_process(recovery.open(None), entry)
    )
    busy = locks.find_refusal(standing.young, found.now)
    raise_all([*found.problems(), *([busy] if busy else [])])
    if standing.old:
        say(f"removing {len(standing.old)} locks that nobody holds any more")
        locks.remove_locks(recovery.storage, standing.old)
    answer = recovery.check(None, read_data=True)
    if not answer.ok:
        raise LastcopyError(
            f"restic's check of the repository fails; nothing was pruned:\n{answer.words}",
            where=recovery.access.path,
            fix="lastcopy recover look, then `recover rebuild`: it finds the last moment that passes",
        )
    before = recovery.reload()
    _quiet(recovery.history, before.history)
    recovery.storage.write_note(
        *intent.make(recovery.access, before.history, found.decision.drops), what="the note of intent"
    )
    _forget_and_prune(before, found.decision.drops)
    after = before.reload()
    _as_meant(found, before.history, after.history)
    _checked_again(found, before.history, after)
    _noted(found, after)
    gone = [
        entry for name, entry in before.history.live().items() if name not in after.history.live()
        and not name.startswith(LOCKS)
    ]  # fmt: skip
    return PruneResult(
        snapshots=len(found.decision.drops),
        kept=sum(area(name) == "snapshots" for name in after.history.live()),
        hidden=len(gone),
        size=sum(entry.size for entry in gone),
        seconds=time.monotonic() - began,
    )


def _quiet(before: History, after: History) -> None:
    """Require that nothing but locks changed while everything was read; otherwise something was not read. Raises LastcopyError."""
    seen = {entry.id for entries in before.names.values() for entry in entries}
    new = [
        name
        for name, entries in after.names.items()
        if not name.startswith(LOCKS) and any(entry.id not in seen for entry in entries)
    ]
    if new:
        raise LastcopyError(
            f"{len(new)} objects were added or removed while the repository was read, for example {escape_text(new[0], 80)}; nothing was pruned",
            fix="run it when no backup runs, or cut the source off during the prune (docs/runbook.md)",
        )


def _forget_and_prune(before: Recovery, drops: Sequence[str]) -> None:
    writing = replace(before.open(None), writes=True)
    for start in range(0, len(drops), _IDS_AT_ONCE):
        _went(writing.ask("forget", "--quiet", *drops[start : start + _IDS_AT_ONCE]), "forget")
    before.say(f"{len(drops)} snapshots are forgotten; restic now prunes the data that no snapshot needs")
    _went(writing.ask("prune", "--quiet"), "prune")


def _went(answer: ResticResult, what: str) -> None:
    if not answer.ok:
        raise LastcopyError(
            f"restic {what} did not finish (exit code {answer.code}); no version was deleted:\n{answer.words}",
            fix="fix what it reports, then run it again: it continues",
        )


def _as_meant(found: Outlook, before: History, after: History) -> None:
    """Require that exactly the intended snapshots were hidden, that all others exist, and that no version is gone. Raises LastcopyError."""
    meant = Intent(at=before.first or found.now, ids=frozenset(found.decision.drops))
    seen = {entry.id for entries in before.names.values() for entry in entries}
    others = [
        act
        for act in find_acts(after)
        if act.kind in SIGNS and act.entry.id not in seen and not meant.excuses(act)
    ]
    fix = f"lastcopy recover rebuild --at {iso(before.last or found.now)}: every version of that time exists"
    if others:
        raise LastcopyError(
            f"somebody else changed the repository during the prune:{_lines(others)}", fix=fix
        )
    live = after.live()
    wrong = [
        f"{row.snapshot.short} is {'gone' if row.verdict is not Verdict.DROP else 'still there'}"
        for row in found.decision.rows
        if (f"snapshots/{row.snapshot.id}" in live) is (row.snapshot.id in found.decision.drops)
    ]
    if wrong:
        raise LastcopyError(f"the prune did not do what was requested: {', '.join(wrong[:20])}", fix=fix)
    lost = _versions(before) - _versions(after)
    if lost:
        raise LastcopyError(
            f"{len(lost)} versions have been deleted from the storage, which no step of this program does",
            fix="find out who holds a key that can delete versions; then lastcopy recover look",
        )


def _lines(found: Sequence[Act]) -> str:
    return "".join(
        f"\n    {iso(event.first)}: {event.count} {event.kind.value}, for example {escape_text(event.names[0], 60)}"
        for event in group_events(found)
    )


def _versions(history: History) -> set[tuple[str, str]]:
    return {
        (name, entry.id)
        for name, entries in history.names.items()
        for entry in entries
        if not entry.marker and not name.startswith(LOCKS)
    }


def _checked_again(found: Outlook, before: History, after: Recovery) -> None:
    answer = after.check(None, read_data=found.wishes.final_read)
    if not answer.ok:
        raise LastcopyError(
            f"restic's check fails after the prune; somebody wrote to the repository meanwhile:\n{answer.words}",
            fix=f"cut the source off, then lastcopy recover rebuild --at {iso(before.last or found.now)}: every version of that time exists",
        )


def _noted(found: Outlook, after: Recovery) -> None:
    why = f"pruned: {len(found.decision.drops)} snapshots dropped"
    after.storage.write_note(
        *checkpoint.make(after.access, after.history, why), what="the note of this prune"
    )
