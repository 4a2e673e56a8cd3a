"""A10: a storage that does not hold what the design needs is found before the first backup is written, by name, with the row that is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.throwaway import ROOM
from attack_drill.weak_storage import WEAKNESSES, Weakness, WeakStorage, weak_storage
from ops.private_folder import private_folder

# Each of these ends the proof before its other parts.
ALONE = ("gives no versions", "demands another checksum", "tells a missing object as forbidden", "moves objects to an archive")  # fmt: skip


def values(ground: Ground, endpoint: str, ca: str) -> dict[str, str]:
    """The storage step's, as the stack has them, with another endpoint; nothing that is lost is accepted."""
    where, name, path = ground.where, ground.source, ground.path()
    serve = ground.relay.run("cat", f"{ROOM}/{name}/serve.conf").out
    conf = ground.relay.run("cat", f"{ROOM}/{name}/rclone.conf").out
    credentials = ground.relay.run("cat", f"{ROOM}/{name}/credentials").out
    thief = ground.thief()
    return {
        "SOURCE": name, "ENDPOINT": endpoint, "REGION": where.region, "BUCKET": where.bucket, "REPOSITORY": path,
        "PREFIX": re.sub(r"g\d+/$", "", path), "CHECKSUM": where.uploads().checksum.value, "CA": ca,
        "ARGUMENTS": "".join(f"{one}\n" for one in re.findall(r"^arg (.*)$", serve, re.MULTILINE)),
        "LOCK_MODE": "GOVERNANCE", "MINIMUM_DAYS": "1", "ACCEPTED": "",
        "RCLONE_CONF": re.sub(r"^endpoint = .*$", f"endpoint = {endpoint}", conf, flags=re.MULTILINE),
        "CREDENTIALS": credentials,
        "ACCESS_KEY_ID": thief.access_key_id, "SECRET_ACCESS_KEY": thief.secret_access_key.get_secret_value(),
    }  # fmt: skip


def step(ground: Ground, endpoint: str, ca: str) -> tuple[int, str]:
    """The storage step's exit code and words, run on the relay as `pulumi up` runs it."""
    from components.host.host_step import script_text

    text = script_text("storage_check", values(ground, endpoint, ca))
    done = ground.relay.run("sh", "-s", "--", "apply", stdin=text, check=False, seconds=120)
    return done.code, done.said


@contextmanager
def weaker(ground: Ground, sandbox: Path) -> Iterator[WeakStorage]:
    """A proxy before the sandbox's storage, on the relay's loopback, which the source's account reaches for as long."""
    from sandbox import Sandbox

    box = Sandbox(sandbox)
    ca = box.storage_folder / "certs" / "ca.crt"
    with (
        private_folder("weak", ground.folder) as folder,
        weak_storage(
            ground.where.endpoint, ca, ground.where.bucket, folder, box.driver.network_of("relay")
        ) as made,
    ):
        element = f"element inet lastcopy looked_up4 {{ 127.0.0.1 . {made.port} }}"
        ground.relay.run("nft", f"add {element}")
        try:
            yield made
        finally:
            ground.relay.run("nft", f"delete {element}")


def found(ground: Ground, weak: WeakStorage, weaknesses: Sequence[Weakness]) -> Iterator[Finding]:
    weak.weak = tuple(weaknesses)
    code, said = step(ground, weak.endpoint, weak.ca)
    for one in weaknesses:
        told = next((line for line in said.splitlines() if one.told in line), "")
        named = one.row == "A10" or f"row {one.row} of docs/threat-model.md" in told
        yield judged(
            f"a storage that {one.name}", bool(told) and named, told or f"not a word of it; exit code {code}"
        )
    if any(one.refused for one in weaknesses):
        yield judged("nothing else is written there", code == 1, f"exit code {code}")


def play(ground: Ground) -> Iterator[Finding]:
    where = ground.where
    if not where.bucket:
        yield not_played("the storage step", "this storage is no S3 bucket")
        return
    if not ground.may(Level.THROWAWAY):
        yield not_played("the proof of the storage that this stack has", Level.THROWAWAY.words)
        return
    code, said = step(ground, where.endpoint, where.ca_certificate or "")
    yield control("the storage that this stack has passes the proof", code == 0, said.strip())
    if ground.sandbox is None or not ground.may(Level.TRIAL):
        yield not_played(
            "storages that are weak on purpose", "needs the local stack (--sandbox) and --trial-stack"
        )
        return
    with weaker(ground, ground.sandbox) as weak:
        code, said = step(ground, weak.endpoint, weak.ca)
        yield control(
            "the same storage behind the proxy passes as well",
            code == 0 and "warning" not in said,
            said.strip(),
        )
        yield from found(ground, weak, [one for one in WEAKNESSES if one.name not in ALONE])
        for name in ALONE:
            yield from found(ground, weak, [one for one in WEAKNESSES if one.name == name])
