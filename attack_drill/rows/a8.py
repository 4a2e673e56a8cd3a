"""A8: silence, seen from the storage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.trusted import trusted
from ops.status import health as status
from ops.storage.access import Place
from ops.storage.client import Storage

LIMITS = status.Limits(silent_hours=26)


def play(ground: Ground) -> Iterator[Finding]:
    if ground.desk is None:
        yield not_played(
            "the sources as the storage sees them", "needs a storage key (--storage-key, --sandbox)"
        )
        return
    # Built of what the stack tells without its secrets: a place has no password that could be used.
    newest = {}
    for name, room in sorted(ground.rooms.items()):
        seen = looked(ground, Place(where=ground.desk.where, room=room, key=ground.desk.admin))
        if seen.newest is None:
            yield judged(f"{name} has no snapshot: told", "NO SNAPSHOT" in told(seen), told(seen))
            continue
        newest[name] = f"{name} {seen.newest}"
        later = seen.later(27, LIMITS)
        yield judged(
            f"{name} silent for 27 h more: told", "SILENT" in told(later), told(later) or "NOTHING said"
        )
    seen_at = ", ".join(newest.values()) or "no source has one: back up first"
    yield control("the newest snapshots are seen, without a password", bool(newest), seen_at)
    if not ground.may(Level.THROWAWAY):
        yield not_played("a source's root who hides his silence", Level.THROWAWAY.words)
        return
    yield from _hidden_silence(ground)


def _hidden_silence(ground: Ground) -> Iterator[Finding]:
    """The attacker stops the backups and makes it look as if they went on."""
    with trusted(ground) as place:
        seen = looked(ground, place.place)
        yield control("the throwaway's newest snapshot is seen", seen.newest is not None, f"{seen.newest}")
        at = datetime.now(UTC) + timedelta(days=30)
        files = [
            place.master.file({"time": at.isoformat(), "tree": "0" * 64, "paths": ["/"], "hostname": "x"})
        ]
        taken = place.post("snapshots", files)
        later = looked(ground, place.place).later(27, LIMITS)
        yield judged(
            "a snapshot that claims to be of next month does not count as one of then",
            taken == 1 and "SILENT" in told(later),
            f"{taken} taken; {told(later) or 'NOTHING said'}",
        )
        status_file = "/var/lib/lastcopy/status.json"
        before = ground.victim.shell(
            f"stat -c %Y {status_file} 2>/dev/null; touch {status_file}", check=False
        )
        later = looked(ground, place.place).later(27, LIMITS)
        yield judged(
            "a fresh status file on the host changes nothing",
            "SILENT" in told(later),
            f"it was of {before.out.strip() or 'never'}",
        )
        desk = ground.judge()
        hidden = desk.hide(f"{place.made.path}/snapshots/")
        seen = looked(ground, place.place)
        yield judged(
            f"{hidden} snapshots hidden by who has the storage: told", "NO SNAPSHOT" in told(seen), told(seen)
        )


def looked(ground: Ground, place: Place, limits: status.Limits = LIMITS) -> status.Seen:
    """`ops status` on one place, in the thread that reaches the storage."""
    desk = ground.judge()
    ca: Path | None = desk.ca
    return desk.do(lambda _: status.look(Storage(place, ca), place, limits))


def told(seen: status.Seen) -> str:
    return "; ".join(problem.what for problem in seen.problems)
