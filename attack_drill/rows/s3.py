"""S3: restic's own destroying commands, past our wrapper, with the source's key and password."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator

from attack_drill.attempts import Attempt, batch
from attack_drill.ground import Ground
from attack_drill.http2 import Gone, Request, Session
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.rows.s4 import V2, names
from attack_drill.storage import Stored, lost
from attack_drill.throwaway import Throwaway

SECONDS = 20  # restic would repeat what was refused for a minute

# What refuses is told by 403; restic is ended then. TERM lets it take its lock away.
UNTIL_REFUSED = r"""
( LINE ) >said 2>&1 & p=$!
n=0; while [ $n -lt 250 ] && kill -0 $p 2>/dev/null; do
  if grep -q 403 said; then sleep 0.3; kill -TERM $p; break; fi
  n=$((n + 1)); sleep 0.1
done
wait $p; echo "exit $?" >>said; cat said
"""


def commands(made: Throwaway, pack: str, key: str) -> dict[str, list[str]]:
    """Every command of restic 0.19 that removes, replaces or rewrites something."""
    return {
        "forget, all": ["forget", "--unsafe-allow-remove-all", "--host", made.name],
        "forget and prune": ["forget", "--keep-last", "1", "--prune"],
        "prune": ["prune", "--max-unused", "0"],
        "tag": ["tag", "--add", "poisoned"],
        "rewrite": ["rewrite", "--forget", "--exclude", "blob"],
        "repair snapshots": ["repair", "snapshots", "--forget"],
        "repair index": ["repair", "index", "--read-all-packs"],
        "repair packs": ["repair", "packs", pack],
        "key passwd": ["key", "passwd", "--new-password-file", f"{made.folder}/password"],
        "key remove": ["key", "remove", key],
        "migrate": ["migrate", "--force", "upgrade_repo_v2"],
    }


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY):
        yield not_played("restic's destroying commands", Level.THROWAWAY.words)
        return
    made, judge = ground.throwaway(fresh=True), ground.judge()
    added = made.restic("key", "add", "--new-password-file", f"{made.folder}/password")
    yield control("a second key is added, as a source may", added.code == 0, added.said.strip()[-80:])
    newest = made.back(made.snapshots[-1])[0]
    with made.session() as session:
        # A pack that no index knows gives prune something to remove.
        stray = secrets.token_bytes(2000)
        session.ask("POST", f"/data/{hashlib.sha256(stray).hexdigest()}", stray)
        listed = {kind: names(session, kind) for kind in ("keys", "data", "snapshots")}
        before = judge.versions(made.path)
        yield control(
            "its snapshots stand",
            set(made.snapshots) <= set(listed["snapshots"]),
            f"{len(listed['snapshots'])} snapshots",
        )
        found = commands(made, listed["data"][0], listed["keys"][0])
        mine = _current_key(made)
        other = next((key for key in listed["keys"] if key != mine), listed["keys"][0])
        found["key remove"] = ["key", "remove", other]
        for name, words in found.items():
            said = _tried(made, words)
            damage = lost(before, judge.versions(made.path))
            yield judged(f"restic {name}", not damage, damage[:4] or said)
            _no_locks(session)
    yield from _after(made, before, judge.versions(made.path), newest)


def _tried(made: Throwaway, words: list[str]) -> str:
    script = UNTIL_REFUSED.replace("LINE", made.line(*words, seconds=SECONDS))
    said = batch(made.host, [Attempt(tried="", words=["sh", "-c", script])], seconds=SECONDS + 6)[
        0
    ].out.decode(errors="replace")
    refused = next((line for line in said.splitlines() if "403" in line), "")
    return refused or " / ".join(said.strip().splitlines()[-2:])


def _current_key(made: Throwaway) -> str:
    listed = json.loads(made.restic("key", "list", "--json", check=True).out)
    return next((str(key["id"]) for key in listed if key["current"]), "")


def _no_locks(session: Session) -> None:
    """What an ended restic left; locks are the one thing that a source may remove."""
    with contextlib.suppress(Gone, ValueError):
        listed = session.ask("GET", "/locks/", accept=V2)
        left = [str(entry["name"]) for entry in json.loads(listed.body or b"[]")]
        session.together([Request("DELETE", f"/locks/{name}") for name in left])


def _after(made: Throwaway, before: list[Stored], after: list[Stored], newest: str) -> Iterator[Finding]:
    damage = lost(before, after)
    yield judged(
        "no version is gone, changed or covered",
        not damage,
        damage[:6] or f"{len(before)} versions as before, {len(after) - len(before)} added",
    )
    snapshots = made.restic("snapshots", "--json", "--no-lock").out
    missing = [one[:8] for one in made.snapshots if one not in snapshots]
    yield judged("every snapshot is still listed", not missing, missing or f"{len(made.snapshots)} snapshots")
    for which, snapshot, manifest in (
        ("first", made.snapshots[0], made.manifest),
        ("newest", made.snapshots[-1], newest),
    ):
        yield judged(f"the {which} snapshot restores byte for byte", *made.restored(snapshot, manifest))
    checked = made.restic("check", "--read-data", "--no-lock")
    yield judged("every pack reads back", checked.code == 0, checked.said.strip().splitlines()[-1:])
