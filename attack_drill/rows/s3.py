"""S3: restic's own destructive commands, run without our wrapper, with the source's key and password."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator

from attack_drill.attempts import Attempt, run_attempts
from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import RestRequest, Session, SessionEnded
from attack_drill.options import Level
from attack_drill.rows.s4 import V2, list_names
from attack_drill.scratch_repository import ScratchRepository
from attack_drill.storage_admin import StoredVersion, find_losses

SECONDS = 20  # restic would retry what was refused for a minute

# A refusal is status 403; restic is ended then. SIGTERM lets it remove its lock.
UNTIL_REFUSED = r"""
( LINE ) >said 2>&1 & p=$!
n=0; while [ $n -lt 250 ] && kill -0 $p 2>/dev/null; do
  if grep -q 403 said; then sleep 0.3; kill -TERM $p; break; fi
  n=$((n + 1)); sleep 0.1
done
wait $p; echo "exit $?" >>said; cat said
"""


def commands(scratch: ScratchRepository, pack: str, key: str) -> dict[str, list[str]]:
    """Every command of restic 0.19 that removes, replaces or rewrites something."""
    return {
        "forget, all": ["forget", "--unsafe-allow-remove-all", "--host", scratch.name],
        "forget and prune": ["forget", "--keep-last", "1", "--prune"],
        "prune": ["prune", "--max-unused", "0"],
        "tag": ["tag", "--add", "poisoned"],
        "rewrite": ["rewrite", "--forget", "--exclude", "blob"],
        "repair snapshots": ["repair", "snapshots", "--forget"],
        "repair index": ["repair", "index", "--read-all-packs"],
        "repair packs": ["repair", "packs", pack],
        "key passwd": ["key", "passwd", "--new-password-file", f"{scratch.folder}/password"],
        "key remove": ["key", "remove", key],
        "migrate": ["migrate", "--force", "upgrade_repo_v2"],
    }


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played("restic's destructive commands", Level.SCRATCH.words)
        return
    scratch, storage = drill.scratch_repository(fresh=True), drill.require_storage()
    added = scratch.restic("key", "add", "--new-password-file", f"{scratch.folder}/password")
    yield control("a second key is added, as a source may", added.code == 0, added.said.strip()[-80:])
    newest = scratch.restored_digest(scratch.snapshots[-1])[0]
    with scratch.session() as session:
        # A pack that is in no index gives prune something to remove.
        stray = secrets.token_bytes(2000)
        session.ask("POST", f"/data/{hashlib.sha256(stray).hexdigest()}", stray)
        listed = {kind: list_names(session, kind) for kind in ("keys", "data", "snapshots")}
        before = storage.versions(scratch.path)
        yield control(
            "its snapshots are listed",
            set(scratch.snapshots) <= set(listed["snapshots"]),
            f"{len(listed['snapshots'])} snapshots",
        )
        found = commands(scratch, listed["data"][0], listed["keys"][0])
        mine = _current_key(scratch)
        other = next((key for key in listed["keys"] if key != mine), listed["keys"][0])
        found["key remove"] = ["key", "remove", other]
        for name, words in found.items():
            said = _tried(scratch, words)
            damage = find_losses(before, storage.versions(scratch.path))
            yield judged(f"restic {name}", not damage, damage[:4] or said)
            _no_locks(session)
    yield from _after(scratch, before, storage.versions(scratch.path), newest)


def _tried(scratch: ScratchRepository, words: list[str]) -> str:
    script = UNTIL_REFUSED.replace("LINE", scratch.restic_line(*words, seconds=SECONDS))
    said = run_attempts(scratch.host, [Attempt(tried="", words=["sh", "-c", script])], seconds=SECONDS + 6)[
        0
    ].out.decode(errors="replace")
    refused = next((line for line in said.splitlines() if "403" in line), "")
    return refused or " / ".join(said.strip().splitlines()[-2:])


def _current_key(scratch: ScratchRepository) -> str:
    listed = json.loads(scratch.restic("key", "list", "--json", check=True).out)
    return next((str(key["id"]) for key in listed if key["current"]), "")


def _no_locks(session: Session) -> None:
    """Remove the locks that an ended restic left; they are the only objects that a source may remove."""
    with contextlib.suppress(SessionEnded, ValueError):
        listed = session.ask("GET", "/locks/", accept=V2)
        left = [str(entry["name"]) for entry in json.loads(listed.body or b"[]")]
        session.together([RestRequest("DELETE", f"/locks/{name}") for name in left])


def _after(
    scratch: ScratchRepository, before: list[StoredVersion], after: list[StoredVersion], newest: str
) -> Iterator[RowFinding]:
    damage = find_losses(before, after)
    yield judged(
        "no version is gone, changed or covered",
        not damage,
        damage[:6] or f"{len(before)} versions as before, {len(after) - len(before)} added",
    )
    snapshots = scratch.restic("snapshots", "--json", "--no-lock").out
    missing = [one[:8] for one in scratch.snapshots if one not in snapshots]
    yield judged(
        "every snapshot is still listed", not missing, missing or f"{len(scratch.snapshots)} snapshots"
    )
    for which, snapshot, manifest in (
        ("first", scratch.snapshots[0], scratch.manifest),
        ("newest", scratch.snapshots[-1], newest),
    ):
        yield judged(f"the {which} snapshot restores byte for byte", *scratch.try_restore(snapshot, manifest))
    checked = scratch.restic("check", "--read-data", "--no-lock")
    yield judged("every pack reads back", checked.code == 0, checked.said.strip().splitlines()[-1:])
