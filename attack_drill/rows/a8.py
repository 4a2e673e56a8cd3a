"""A8: backups that stopped are noticed from the storage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.operator_side import open_operator_side
from attack_drill.options import Level
from ops.status import health as status
from ops.storage.access import RepositoryLocation
from ops.storage.client import Storage

LIMITS = status.HealthLimits(silent_hours=26)


def play(drill: Drill) -> Iterator[RowFinding]:
    if drill.storage is None:
        yield not_played(
            "the sources as the storage sees them", "needs a storage key (--storage-key, --sandbox)"
        )
        return
    # Made from the stack's outputs without secrets, so there is no password that could be used.
    newest = {}
    for name, repository in sorted(drill.repositories.items()):
        seen = look_at(
            drill, RepositoryLocation(where=drill.storage.where, record=repository, key=drill.storage.admin)
        )
        if seen.newest is None:
            yield judged(
                f"{name} has no snapshot: an alert", "NO SNAPSHOT" in problems_of(seen), problems_of(seen)
            )
            continue
        newest[name] = f"{name} {seen.newest}"
        later = seen.later(27, LIMITS)
        yield judged(
            f"{name} is silent for 27 h more: an alert",
            "SILENT" in problems_of(later),
            problems_of(later) or "no alert",
        )
    seen_at = ", ".join(newest.values()) or "no source has one: back up first"
    yield control("the newest snapshots are seen, without a password", bool(newest), seen_at)
    if not drill.may(Level.SCRATCH):
        yield not_played("root on a source hides that its backups stopped", Level.SCRATCH.words)
        return
    yield from _hidden_silence(drill)


def _hidden_silence(drill: Drill) -> Iterator[RowFinding]:
    """Root on the source stops the backups and makes it look as if they went on."""
    with open_operator_side(drill) as operator:
        seen = look_at(drill, operator.place)
        yield control(
            "the scratch repository's newest snapshot is seen", seen.newest is not None, f"{seen.newest}"
        )
        at = datetime.now(UTC) + timedelta(days=30)
        files = [
            operator.master.file({"time": at.isoformat(), "tree": "0" * 64, "paths": ["/"], "hostname": "x"})
        ]
        taken = operator.upload_as_source("snapshots", files)
        later = look_at(drill, operator.place).later(27, LIMITS)
        yield judged(
            "a snapshot dated next month does not count as newer",
            taken == 1 and "SILENT" in problems_of(later),
            f"{taken} accepted; {problems_of(later) or 'no alert'}",
        )
        status_file = "/var/lib/lastcopy/status.json"
        before = drill.victim.shell(f"stat -c %Y {status_file} 2>/dev/null; touch {status_file}", check=False)
        later = look_at(drill, operator.place).later(27, LIMITS)
        yield judged(
            "a fresh status file on the host changes nothing",
            "SILENT" in problems_of(later),
            f"its time was {before.out.strip() or 'unknown'}",
        )
        storage = drill.require_storage()
        hidden = storage.hide(f"{operator.scratch.path}/snapshots/")
        seen = look_at(drill, operator.place)
        yield judged(
            f"{hidden} snapshots hidden in the storage: an alert",
            "NO SNAPSHOT" in problems_of(seen),
            problems_of(seen),
        )


def look_at(
    drill: Drill, operator: RepositoryLocation, limits: status.HealthLimits = LIMITS
) -> status.SourceHealth:
    """Run `lastcopy status` on one repository, in the thread that reaches the storage."""
    storage = drill.require_storage()
    ca: Path | None = storage.ca
    return storage.call(lambda _: status.check_source(Storage(operator, ca), operator, limits))


def problems_of(seen: status.SourceHealth) -> str:
    return "; ".join(problem.what for problem in seen.problems)
