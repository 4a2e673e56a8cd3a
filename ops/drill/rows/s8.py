"""S8: forged snapshots, so that retention drops good ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ops.drill.ground import Ground
from ops.drill.model import Finding, Level, control, judged, not_played
from ops.drill.storage import lost
from ops.drill.trusted import Trusted, trusted
from ops.prune.decision import ALL_SUSPICIOUS, Verdict

CROWD = 1000


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
    forged: set[str] = set()
    for what, documents in lies(content, datetime.now(UTC)).items():
        files = [place.master.file(document) for document in documents]
        taken = place.post("snapshots", files)
        forged |= {name for name, _ in files}
        yield _named(place, f"{taken} of {len(files)}: {what}", {name for name, _ in files})
    by_hand = made.restic("backup", "--quiet", "--time", "2001-01-01 00:00:00", "--host", "db9", "tree")
    yield judged(
        "restic backup --time 2001 --host db9", *_refused(place, f"restic ended with {by_hand.code}")
    )
    junk = [place.master.file("no snapshot at all")]
    place.post("snapshots", junk)
    yield _named(place, "a snapshot that nobody can read", {junk[0][0]})
    # The storage's administrator takes it away: over it restic prunes nothing, whatever the operator sets aside.
    desk.hide(f"{made.path}/snapshots/{junk[0][0]}")

    ids = {row.snapshot.id for row in place.look().decision.of(Verdict.SUSPICIOUS)}
    damage = lost(before, desk.versions(made.path, contents=False))
    yield judged(
        "nothing is hidden or gone by the refused prunes",
        not damage,
        damage or f"{len(before)} versions as before",
    )

    crowd = [
        place.master.file({**content, "time": datetime.now(UTC).isoformat(), "uid": n}) for n in range(CROWD)
    ]
    taken = place.post("snapshots", crowd)
    yield _named(place, f"a burst of {taken} that claim nothing odd", {name for name, _ in crowd})
    held, seen = _refused(place, "after the burst")
    yield judged("the prune refuses the burst", held, seen)

    # Set aside, they displace nothing: the good ones are counted as if the forged were not there. Of the burst, none can be told from the others.
    rows = place.look(ALL_SUSPICIOUS).decision
    good_drop = good & set(rows.drops)
    yield judged(
        "set aside, no forged snapshot makes a good one go",
        newest.id not in good_drop and not (forged | ids) & set(rows.drops),
        f"{len(rows.of(Verdict.ASIDE))} set aside, to drop: {len(rows.drops)}",
    )
    yield judged("the newest good snapshot restores", *place.recovered(newest.id))


def _named(place: Trusted, what: str, ids: set[str]) -> Finding:
    """Each forged one is called suspicious, and no good one is to be dropped for it."""
    found = place.look().decision
    suspicious = {row.snapshot.id for row in found.of(Verdict.SUSPICIOUS)}
    missed = ids - suspicious
    newest = place.made.snapshots[-1]
    return judged(
        what,
        not missed and newest not in found.drops,
        f"{len(ids - missed)} of {len(ids)} named"
        + (f"; not suspicious: {', '.join(sorted(one[:8] for one in missed)[:5])}" if missed else ""),
    )


def _refused(place: Trusted, seen: str) -> tuple[bool, str]:
    done, why = place.prune()
    return (
        done is None and "suspicious" in why,
        f"{seen}; prune: {why.splitlines()[0] if why else 'WENT THROUGH'}",
    )
