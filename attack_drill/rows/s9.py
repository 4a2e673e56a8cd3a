"""S9: bogus keys and locks, garbage index and packs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from attack_drill.forge import bogus_key, named
from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.storage import lost
from attack_drill.trusted import Trusted, trusted

LOCKS = 1000


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY) or ground.desk is None:
        yield not_played("bogus keys, locks, index and packs", Level.THROWAWAY.words)
        return
    with trusted(ground) as place:
        yield from _garbage(place)


def _garbage(place: Trusted) -> Iterator[Finding]:
    made, desk, master = place.made, place.desk, place.master
    opens = made.restic("cat", "config", "--no-lock")
    yield control("restic opens the repository before", opens.code == 0, f"restic ended with {opens.code}")
    before = desk.versions(made.path)

    packs = _index(place)
    pack, blobs = next((pack, blobs) for pack, blobs in packs.items() if blobs[0]["type"] == "data")
    size = sum(blob["length"] + (41 if blob.get("uncompressed_length") else 37) for blob in blobs) + 36
    name, body = named(os.urandom(size))
    other = next(one for one in packs if one != pack)
    garbage = ("data", (name, body))
    trusting = ("index", master.file({"packs": [{"id": name, "blobs": blobs}]}))
    moving = ("index", master.file({"packs": [{"id": other, "blobs": blobs}]}))
    poison = {
        "a garbage pack and an index that says it holds good files": [garbage, trusting],
        "an index that says a good pack holds another one's blobs": [moving],
        "a garbage index": [("index", named(b"garbage index" * 9))],
    }
    for what, files in poison.items():
        seen_until = place.last()
        taken = sum(place.post(kind, [file]) for kind, file in files)
        held, words = _prune_refuses(place, "check of what stands fails", seen_until)
        yield judged(f"{what}: the prune refuses", held, f"{taken} of {len(files)} taken; {words}")
        yield judged(f"{what}: recovery restores", *place.recovered(made.snapshots[0]))
        for kind, (one, _) in files:  # so that the next is judged for itself
            desk.hide(f"{made.path}/{kind}/{f'{one[:2]}/' if kind == 'data' else ''}{one}")
    seen_until = place.last()

    keys = _keys_before(place, 25)
    taken = place.post("keys", [*keys, named(b"{ not JSON"), ("0" * 64, b"{ not JSON")])
    locked_out = made.restic("cat", "config", "--no-lock").code != 0
    seen = (
        f"{taken} taken; restic without the key hint {'gives up' if locked_out else 'opens it all the same'}"
    )
    held, words = _prune_refuses(place, "look first", seen_until)
    yield judged("25 bogus and 2 malformed keys: the prune says look first", held, f"{seen}; {words}")
    yield judged("recovery opens it and restores", *place.recovered(made.snapshots[0]))

    seen_until = place.last()
    taken = place.post("locks", [named(f"no lock {number}".encode()) for number in range(LOCKS)])
    began = time.monotonic()
    done, why = place.prune(seen_until=seen_until)
    yield judged(
        f"{taken} bogus locks: the prune waits for them to grow old, and does not hang",
        done is None and "younger than 30 minutes" in why and time.monotonic() - began < 60,
        f"{time.monotonic() - began:.1f} s: {why.splitlines()[0] if why else 'WENT THROUGH'}",
    )
    yield judged("recovery restores over the locks, too", *place.recovered(made.snapshots[0]))
    damage = lost(before, desk.versions(made.path))
    yield judged("every version of before stands", not damage, damage or f"{len(before)} versions")


def _index(place: Trusted) -> dict[str, list[dict[str, Any]]]:
    """pack -> its blobs, as restic on the source reads the indexes."""
    listed = place.made.restic("list", "index", "--no-lock", check=True).out.split()
    documents = [
        json.loads(place.made.restic("cat", "index", one, "--no-lock", check=True).out) for one in listed
    ]
    return {pack["id"]: pack["blobs"] for document in documents for pack in document["packs"]}


def _keys_before(place: Trusted, number: int) -> list[tuple[str, bytes]]:
    """Under names that come before the good key's, so that restic tries them first."""
    found: list[tuple[str, bytes]] = []
    count = 0
    while len(found) < number and count < 100_000:
        one = bogus_key(place.key_file, count)
        if one[0] < place.key_id or count > 50_000:
            found.append(one)
        count += 1
    return found


def _prune_refuses(place: Trusted, words: str, seen_until: datetime) -> tuple[bool, str]:
    before = place.desk.versions(place.made.path, contents=False)
    done, why = place.prune(seen_until=seen_until)
    damage = lost(before, place.desk.versions(place.made.path, contents=False))
    said = why.splitlines()[0] if why else "the prune WENT THROUGH"
    return done is None and words in why and not damage, f"{said}{'; ' + str(damage[:3]) if damage else ''}"
