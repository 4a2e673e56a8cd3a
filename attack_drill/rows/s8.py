"""S8: forged snapshots, so that retention drops good ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.storage import lost
from attack_drill.trusted import Trusted, trusted, wishes
from ops.prune.decision import ALL_SUSPICIOUS, Decision, Verdict, decide

CROWD = 60  # over the limits of 20 and 50; tests/prune plays a thousand


def lies(good: dict[str, object], now: datetime) -> dict[str, list[dict[str, object]]]:
    """What is tried -> the snapshots' content. Each is of the good snapshot's own tree, so that nothing else betrays it."""

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


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY) or ground.desk is None:
        yield not_played("forged snapshots against the trusted prune", Level.THROWAWAY.words)
        return
    with trusted(ground) as place:
        yield from _forgeries(place)


def _forgeries(place: Trusted) -> Iterator[Finding]:
    made, desk = place.made, place.desk
    newest = place.look().decision.rows[-1].snapshot
    good = set(made.snapshots)
    first = place.look()
    quiet = not list(first.problems()) and set(first.decision.drops) == good - {newest.id}
    yield control(
        "the prune's plan for honest snapshots",
        quiet,
        f"{len(first.decision.drops)} to drop, nothing suspicious",
    )

    told = place.on_it(
        lambda found: next(one for one in found.open(None).snapshots() if one["id"] == newest.id)
    )
    content: dict[str, object] = {name: told[name] for name in ("tree", "paths", "hostname", "username")}
    before = desk.versions(made.path, contents=False)
    forged: dict[str, set[str]] = {}
    for what, documents in lies(content, datetime.now(UTC)).items():
        files = [place.master.file(document) for document in documents]
        taken = place.post("snapshots", files)
        forged[f"{taken} of {len(files)} forged: {what}"] = {name for name, _ in files}
    stood = {one["id"] for one in place.on_it(lambda found: found.open(None).snapshots())}
    by_hand = made.restic("backup", "--quiet", "--time", "2001-01-01 00:00:00", "--host", "db9", "tree")
    now = {one["id"] for one in place.on_it(lambda found: found.open(None).snapshots())}
    forged["restic backup --time 2001 --host db9"] = now - stood
    junk, _ = (file := place.master.file("no snapshot at all"))
    place.post("snapshots", [file])
    forged["one that nobody can read"] = {junk}
    after = place.look().decision
    for what, ids in forged.items():
        yield _named(what, ids, after, newest.id)
    yield _refused(place, f"the prune refuses them (restic by hand ended with {by_hand.code})")
    damage = lost(before, desk.versions(made.path, contents=False))
    yield judged("the refused prune hid nothing", not damage, damage or f"{len(before)} versions as before")
    # The storage's administrator takes away what nobody can read: over it restic prunes nothing, whatever is set aside.
    desk.hide(f"{made.path}/snapshots/{junk}")

    crowd = [
        place.master.file({**content, "time": datetime.now(UTC).isoformat(), "uid": n}) for n in range(CROWD)
    ]
    taken = place.post("snapshots", crowd)
    flooded = place.look()
    yield _named(
        f"a burst of {taken} that claim nothing odd", {name for name, _ in crowd}, flooded.decision, newest.id
    )
    yield judged(
        "the prune's plan refuses the burst",
        any("suspicious" in str(problem) for problem in flooded.problems()),
        f"{len(flooded.decision.of(Verdict.SUSPICIOUS))} suspicious",
    )
    # Of a burst none can be told from the others: set aside, all stay, and no good one goes for them.
    asked = wishes(ALL_SUSPICIOUS)
    aside = decide([row.snapshot for row in flooded.decision.rows], asked.keep, asked.limits, asked.set_aside)
    yield judged(
        "set aside, they make no good one go",
        not aside.drops,
        f"{len(aside.of(Verdict.ASIDE))} set aside, {len(aside.drops)} to drop",
    )
    yield judged("a good snapshot restores", *place.recovered(made.snapshots[0]))


def _named(what: str, ids: set[str], found: Decision, newest: str) -> Finding:
    """Each forged one is called suspicious, and the newest good one is not to be dropped for it."""
    missed = ids - {row.snapshot.id for row in found.of(Verdict.SUSPICIOUS)}
    return judged(
        what,
        bool(ids) and not missed and newest not in found.drops,
        f"{len(ids - missed)} of {len(ids)} named as suspicious",
    )


def _refused(place: Trusted, what: str) -> Finding:
    done, why = place.prune()
    return judged(
        what, done is None and "suspicious" in why, why.splitlines()[0] if why else "it WENT THROUGH"
    )
