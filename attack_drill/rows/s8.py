"""S8: forged snapshots, so that retention drops good ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.operator_side import OperatorSide, open_operator_side, wishes
from attack_drill.options import Level
from attack_drill.storage_admin import find_losses
from ops.prune.decision import ALL_SUSPICIOUS, Decision, Verdict, decide

CROWD = 60  # above the limits of 20 and 50; tests/prune tries a thousand


def lies(good: Mapping[str, object], now: datetime) -> dict[str, list[dict[str, object]]]:
    """Forged snapshots by what is forged. Each has a good snapshot's tree, so that nothing else gives it away."""

    def claim(at: object, **more: object) -> dict[str, object]:
        return {**good, "time": at.isoformat() if isinstance(at, datetime) else at, **more}

    days = [timedelta(days=day) for day in (3, 30, 365)]
    return {
        "time in the past": [claim(now - day) for day in days],
        "time in 1970": [claim("1970-01-01T00:00:00Z")],
        "time in the future": [claim(now + day) for day in days],
        "time an hour ahead": [claim(now + timedelta(hours=1))],
        "time at the end of the calendar": [claim("9999-12-31T23:59:59-14:00")],
        "another host": [claim(now, hostname="db9")],
        "a host name of control characters": [claim(now, hostname="\x1b[2J\x1b]0;x\x07")],
        "no host name": [claim(now, hostname="")],
    }


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH) or drill.storage is None:
        yield not_played("forged snapshots against the operator's prune", Level.SCRATCH.words)
        return
    with open_operator_side(drill) as operator:
        genuine = operator.scratch.snapshots
        first = operator.plan_prune()
        newest = first.decision.rows[-1].snapshot.id
        quiet = not list(first.problems()) and set(first.decision.drops) == set(genuine) - {newest}
        yield control(
            "prune's plan for genuine snapshots",
            quiet,
            f"{len(first.decision.drops)} to drop, nothing suspicious",
        )
        told = operator.with_recovery(
            lambda found: next(one for one in found.open(None).snapshots() if one["id"] == newest)
        )
        content: dict[str, object] = {name: told[name] for name in ("tree", "paths", "hostname", "username")}
        yield from _lies(operator, newest, content)
        yield from _burst(operator, newest, content)
        yield judged("a good snapshot restores", *operator.try_recover(genuine[0]))


def _lies(operator: OperatorSide, newest: str, content: Mapping[str, object]) -> Iterator[RowFinding]:
    """Snapshots that claim what no genuine one does, and one that cannot be read."""
    scratch, storage = operator.scratch, operator.storage
    before = storage.versions(scratch.path, contents=False)
    forged: dict[str, set[str]] = {}
    for what, documents in lies(content, datetime.now(UTC)).items():
        files = [operator.master.file(document) for document in documents]
        taken = operator.upload_as_source("snapshots", files)
        forged[f"{taken} of {len(files)} forged: {what}"] = {name for name, _ in files}
    stood = {one["id"] for one in operator.with_recovery(lambda found: found.open(None).snapshots())}
    by_hand = scratch.restic("backup", "--quiet", "--time", "2001-01-01 00:00:00", "--host", "db9", "tree")
    now = {one["id"] for one in operator.with_recovery(lambda found: found.open(None).snapshots())}
    forged["restic backup --time 2001 --host db9"] = now - stood
    junk, _ = (file := operator.master.file("no snapshot at all"))
    operator.upload_as_source("snapshots", [file])
    forged["a snapshot file that cannot be read"] = {junk}
    after = operator.plan_prune().decision
    for what, ids in forged.items():
        yield _named(what, ids, after, newest)
    yield _refused(operator, f"prune refuses them (restic run by hand ended with {by_hand.code})")
    damage = find_losses(before, storage.versions(scratch.path, contents=False))
    yield judged("the refused prune hid nothing", not damage, damage or f"{len(before)} versions as before")
    # restic prunes nothing while there is a snapshot file that it cannot read, so the storage's administrator hides it.
    storage.hide(f"{scratch.path}/snapshots/{junk}")


def _burst(operator: OperatorSide, newest: str, content: Mapping[str, object]) -> Iterator[RowFinding]:
    """More snapshots at once than a source makes, each of which looks ordinary."""
    crowd = [
        operator.master.file({**content, "time": datetime.now(UTC).isoformat(), "uid": n})
        for n in range(CROWD)
    ]
    taken = operator.upload_as_source("snapshots", crowd)
    flooded = operator.plan_prune()
    yield _named(
        f"a burst of {taken} snapshots that look ordinary",
        {name for name, _ in crowd},
        flooded.decision,
        newest,
    )
    yield judged(
        "prune's plan refuses the burst",
        any("suspicious" in str(problem) for problem in flooded.problems()),
        f"{len(flooded.decision.of(Verdict.SUSPICIOUS))} suspicious",
    )
    # None of a burst can be told from the others. If they are set aside, all are kept, and no good snapshot is dropped for them.
    asked = wishes(ALL_SUSPICIOUS)
    aside = decide([row.snapshot for row in flooded.decision.rows], asked.keep, asked.limits, asked.set_aside)
    yield judged(
        "when they are set aside, no good snapshot is dropped",
        not aside.drops,
        f"{len(aside.of(Verdict.ASIDE))} set aside, {len(aside.drops)} to drop",
    )


def _named(what: str, ids: set[str], found: Decision, newest: str) -> RowFinding:
    """Each forged snapshot must be named as suspicious, and the newest good one must not be dropped."""
    missed = ids - {row.snapshot.id for row in found.of(Verdict.SUSPICIOUS)}
    return judged(
        what,
        bool(ids) and not missed and newest not in found.drops,
        f"{len(ids - missed)} of {len(ids)} named as suspicious",
    )


def _refused(operator: OperatorSide, what: str) -> RowFinding:
    done, why = operator.prune()
    return judged(
        what, done is None and "suspicious" in why, why.splitlines()[0] if why else "it WENT THROUGH"
    )
