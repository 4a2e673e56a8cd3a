"""S9: bogus keys and locks, garbage index and packs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.forged_objects import bogus_key, content_named
from attack_drill.operator_side import OperatorSide, open_operator_side
from attack_drill.options import Level
from attack_drill.storage_admin import find_losses

LOCKS = 1000


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH) or drill.storage is None:
        yield not_played("bogus keys, locks, index and packs", Level.SCRATCH.words)
        return
    with open_operator_side(drill) as operator:
        scratch, storage = operator.scratch, operator.storage
        opens = scratch.restic("cat", "config", "--no-lock")
        yield control(
            "restic opens the repository before", opens.code == 0, f"restic ended with {opens.code}"
        )
        before = storage.versions(scratch.path)
        yield from _poison(operator)
        yield from _keys(operator)
        yield from _locks(operator)
        damage = find_losses(before, storage.versions(scratch.path))
        yield judged("every earlier version is kept", not damage, damage or f"{len(before)} versions")


def _poison(operator: OperatorSide) -> Iterator[RowFinding]:
    """Packs and indexes that do not contain what they claim."""
    scratch, storage, master = operator.scratch, operator.storage, operator.master
    packs = _index(operator)
    pack, blobs = next((pack, blobs) for pack, blobs in packs.items() if blobs[0]["type"] == "data")
    size = sum(blob["length"] + (41 if blob.get("uncompressed_length") else 37) for blob in blobs) + 36
    name, body = content_named(os.urandom(size))
    other = next(one for one in packs if one != pack)
    garbage = ("data", (name, body))
    trusting = ("index", master.file({"packs": [{"id": name, "blobs": blobs}]}))
    moving = ("index", master.file({"packs": [{"id": other, "blobs": blobs}]}))
    poison = {
        "a garbage pack, and an index that says it contains good blobs": [garbage, trusting],
        "an index that says a good pack contains another one's blobs": [moving],
        "a garbage index": [("index", content_named(b"garbage index" * 9))],
    }
    for what, files in poison.items():
        seen_until = operator.newest_time()
        taken = sum(operator.upload_as_source(kind, [file]) for kind, file in files)
        held, words = _prune_refuses(operator, "check of the repository fails", seen_until)
        yield judged(f"{what}: prune refuses", held, f"{taken} of {len(files)} accepted; {words}")
        yield judged(f"{what}: recovery restores", *operator.try_recover(scratch.snapshots[0]))
        for kind, (one, _) in files:  # so that the next one is judged for itself
            storage.hide(f"{scratch.path}/{kind}/{f'{one[:2]}/' if kind == 'data' else ''}{one}")


def _keys(operator: OperatorSide) -> Iterator[RowFinding]:
    """More key files than restic tries, and malformed ones, before the good key."""
    scratch = operator.scratch
    seen_until = operator.newest_time()
    keys = _keys_before(operator, 25)
    taken = operator.upload_as_source(
        "keys", [*keys, content_named(b"{ not JSON"), ("0" * 64, b"{ not JSON")]
    )
    locked_out = scratch.restic("cat", "config", "--no-lock").code != 0
    seen = f"{taken} accepted; restic without the key hint {'gives up' if locked_out else 'opens it nevertheless'}"
    held, words = _prune_refuses(operator, "examine it first", seen_until)
    yield judged(
        "25 bogus and 2 malformed keys: prune refuses until somebody looks", held, f"{seen}; {words}"
    )
    yield judged("recovery opens the repository and restores", *operator.try_recover(scratch.snapshots[0]))


def _locks(operator: OperatorSide) -> Iterator[RowFinding]:
    """A thousand lock files that are not locks."""
    seen_until = operator.newest_time()
    taken = operator.upload_as_source(
        "locks", [content_named(f"no lock {number}".encode()) for number in range(LOCKS)]
    )
    began = time.monotonic()
    done, why = operator.prune(seen_until=seen_until)
    yield judged(
        f"{taken} bogus locks: prune refuses until they are old, and does not hang",
        done is None and "younger than 30 minutes" in why and time.monotonic() - began < 60,
        f"{time.monotonic() - began:.1f} s: {why.splitlines()[0] if why else 'NOT refused'}",
    )
    yield judged(
        "recovery restores in spite of the locks", *operator.try_recover(operator.scratch.snapshots[0])
    )


def _index(operator: OperatorSide) -> dict[str, list[dict[str, Any]]]:
    """The blobs of each pack, as restic on the source reads the indexes."""
    listed = operator.scratch.restic("list", "index", "--no-lock", check=True).out.split()
    documents = [
        json.loads(operator.scratch.restic("cat", "index", one, "--no-lock", check=True).out)
        for one in listed
    ]
    return {pack["id"]: pack["blobs"] for document in documents for pack in document["packs"]}


def _keys_before(operator: OperatorSide, number: int) -> list[tuple[str, bytes]]:
    """Bogus keys whose names sort before the good key's, so that restic tries them first."""
    found: list[tuple[str, bytes]] = []
    count = 0
    while len(found) < number and count < 100_000:
        one = bogus_key(operator.key_file, count)
        if one[0] < operator.key_id or count > 50_000:
            found.append(one)
        count += 1
    return found


def _prune_refuses(operator: OperatorSide, words: str, seen_until: datetime) -> tuple[bool, str]:
    before = operator.storage.versions(operator.scratch.path, contents=False)
    done, why = operator.prune(seen_until=seen_until)
    damage = find_losses(before, operator.storage.versions(operator.scratch.path, contents=False))
    said = why.splitlines()[0] if why else "prune was NOT refused"
    return done is None and words in why and not damage, f"{said}{'; ' + str(damage[:3]) if damage else ''}"
