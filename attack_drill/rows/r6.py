"""R6: root on the relay reads the sources' data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.search import LEAST, PLACES, forms, part, planted, search
from attack_drill.thief import at_most
from attack_drill.throwaway import Throwaway

NAMES = (b"dangling", b"new\nline", b"blob")  # of the known tree


@contextmanager
def at_work(made: Throwaway) -> Iterator[None]:
    """Within, a backup of the throwaway is under way: restic has its password, and its session on the relay is open."""
    hold = f"{made.folder}/hold"
    made.host.run("touch", hold)
    line = f"while [ -e {hold} ]; do sleep 0.2; done"
    words = ("backup", "--quiet", "--stdin-from-command", "--", "sh", "-c", line)
    running = threading.Thread(target=lambda: made.restic(*words, seconds=300), daemon=True)
    running.start()
    try:
        yield
    finally:
        made.host.run("rm", "-f", hold)
        running.join(60)


def play(ground: Ground) -> Iterator[Finding]:
    passwords = dict(ground.stack.outputs(secrets=True)["passwords"])
    if not ground.may(Level.THROWAWAY):
        with ground.session() as session, planted(ground.relay) as controls:
            session.ask("GET", "/config")
            yield from _searched(ground, passwords, controls)
        yield not_played(
            "what the stolen identity reads of a known tree, and memory during a backup",
            Level.THROWAWAY.words,
        )
        return
    made = ground.throwaway()
    passwords[made.name] = made.host.run("cat", f"{made.folder}/password").out.strip()
    with planted(ground.relay) as controls, at_work(made):
        yield from _searched(ground, passwords, controls)
    yield from _ciphertext(ground, made)


def _searched(
    ground: Ground, passwords: dict[str, str], controls: dict[str, list[bytes]]
) -> Iterator[Finding]:
    parts = {name: part(password) for name, password in passwords.items()}
    words = {f"password of {name}": forms(one) for name, one in parts.items() if one is not None}
    found, read, swap = search(ground.relay, words | controls)
    missed = [kind for kind in PLACES if not any(place.startswith(kind) for place in found[kind])]
    yield control("the same search finds words that were put there", not missed, f"not found: {missed}" if missed else ", ".join(PLACES))  # fmt: skip
    for name in words:
        where = found[name]
        yield judged(
            f"the {name} on the relay: files, logs, environments, arguments, memory", not where,
            at_most(where) if where else f"nowhere in {read >> 20} MiB, in any of {len(words[name])} forms",
        )  # fmt: skip
    for name in (name for name, one in parts.items() if one is None):
        yield not_played(f"the password of {name} on the relay", f"it has less than {LEAST} characters: to look for a part would help to guess it")  # fmt: skip
    if swap:
        yield not_played("what was swapped out on the relay", "swap is not read")


def _ciphertext(ground: Ground, made: Throwaway) -> Iterator[Finding]:
    """Everything that the thief can read of the throwaway, and whether it shows a name or 48 bytes of the known tree."""
    judge, key = ground.judge(), ground.thief()
    pieces = [
        bytes.fromhex(made.host.shell(f"dd if={made.folder}/tree/{file} bs=1 skip=1000 count=48 2>/dev/null | od -An -v -tx1").out)
        for file in ("blob", "sub/small")
    ]  # fmt: skip
    names = sorted({one.key for one in judge.versions(made.path, contents=False) if not one.marker})
    bodies = judge.do(
        lambda s3: {
            name: s3.get_object(Bucket=judge.where.bucket, Key=name)["Body"].read() for name in names
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
    yield judged("no name and no content of the known tree stands in it", not shown, at_most(shown) if shown else f"{size} bytes looked through")  # fmt: skip
