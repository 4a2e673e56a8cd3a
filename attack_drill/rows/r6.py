"""R6: root on the relay reads the sources' data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.scratch_repository import ScratchRepository
from attack_drill.secret_search import LEAST, PLACES, memory_encodings, middle_part, plant_words, search_host
from attack_drill.stolen_identity import abbreviate

NAMES = (b"dangling", b"new\nline", b"blob")  # of the known tree


@contextmanager
def at_work(scratch: ScratchRepository) -> Iterator[None]:
    """Keep a backup of the scratch repository running: restic has its password, and its session on the relay is open."""
    hold = f"{scratch.folder}/hold"
    scratch.host.run("touch", hold)
    line = f"while [ -e {hold} ]; do sleep 0.2; done"
    words = ("backup", "--quiet", "--stdin-from-command", "--", "sh", "-c", line)
    running = threading.Thread(target=lambda: scratch.restic(*words, seconds=300), daemon=True)
    running.start()
    try:
        yield
    finally:
        scratch.host.run("rm", "-f", hold)
        running.join(60)


def play(drill: Drill) -> Iterator[RowFinding]:
    passwords = dict(drill.stack.outputs(secrets=True)["passwords"])
    if not drill.may(Level.SCRATCH):
        with drill.session() as session, plant_words(drill.relay) as controls:
            session.ask("GET", "/config")
            yield from _searched(drill, passwords, controls)
        yield not_played(
            "what the stolen identity can read of a known tree, and memory during a backup",
            Level.SCRATCH.words,
        )
        return
    scratch = drill.scratch_repository()
    passwords[scratch.name] = scratch.host.run("cat", f"{scratch.folder}/password").out.strip()
    with plant_words(drill.relay) as controls, at_work(scratch):
        yield from _searched(drill, passwords, controls)
    yield from _ciphertext(drill, scratch)


def _searched(
    drill: Drill, passwords: dict[str, str], controls: dict[str, list[bytes]]
) -> Iterator[RowFinding]:
    parts = {name: middle_part(password) for name, password in passwords.items()}
    words = {f"password of {name}": memory_encodings(one) for name, one in parts.items() if one is not None}
    found, read, swap = search_host(drill.relay, words | controls)
    missed = [kind for kind in PLACES if not any(place.startswith(kind) for place in found[kind])]
    yield control("the same search finds planted words", not missed, f"not found: {missed}" if missed else ", ".join(PLACES))  # fmt: skip
    for name in words:
        where = found[name]
        yield judged(
            f"the {name} on the relay: files, logs, environments, arguments, memory", not where,
            abbreviate(where) if where else f"nowhere in {read >> 20} MiB, in any of {len(words[name])} forms",
        )  # fmt: skip
    for name in (name for name, one in parts.items() if one is None):
        yield not_played(
            f"the password of {name} on the relay",
            f"it has fewer than {LEAST} characters, so searching for a part would help to guess it",
        )
    if swap:
        yield not_played("memory that was swapped out on the relay", "swap is not read")


def _ciphertext(drill: Drill, scratch: ScratchRepository) -> Iterator[RowFinding]:
    """Whether anything that the attacker can read of the scratch repository contains a name or 48 bytes of the known tree."""
    storage, key = drill.require_storage(), drill.stolen_key()
    pieces = [
        bytes.fromhex(scratch.host.shell(f"dd if={scratch.folder}/tree/{file} bs=1 skip=1000 count=48 2>/dev/null | od -An -v -tx1").out)
        for file in ("blob", "sub/small")
    ]  # fmt: skip
    names = sorted({one.key for one in storage.versions(scratch.path, contents=False) if not one.marker})
    bodies = storage.call(
        lambda s3: {
            name: s3.get_object(Bucket=storage.where.bucket, Key=name)["Body"].read() for name in names
        },
        key,
    )
    size = sum(map(len, bodies.values()))
    yield control("the stolen identity reads every object", size > 1_500_000, f"{len(names)} objects, {size} bytes")  # fmt: skip
    shown = [
        f"{name} shows {word[:8]!r}"
        for name, body in bodies.items()
        for word in (*pieces, *NAMES)
        if word in body
    ]
    yield judged("no object contains a name or content of the known tree", not shown, abbreviate(shown) if shown else f"{size} bytes searched")  # fmt: skip
