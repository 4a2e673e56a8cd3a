"""A10: a storage service that lacks what the design needs is found before the first backup, by name, with the row that is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.scratch_repository import ENTRIES
from attack_drill.weak_storage import WEAKNESSES, Weakness, WeakStorage, weak_storage
from ops.private_folder import private_folder

# Each of these ends the storage step before its other checks.
ALONE = ("gives no versions", "demands another checksum", "reports a missing object as forbidden", "moves objects to an archive")  # fmt: skip


def values(drill: Drill, endpoint: str, ca: str) -> dict[str, str]:
    """The storage step's values as the stack has them, but for the endpoint, and with no loss accepted."""
    where, name, path = drill.where, drill.source, drill.path()
    serve = drill.relay.run("cat", f"{ENTRIES}/{name}/serve.conf").out
    conf = drill.relay.run("cat", f"{ENTRIES}/{name}/rclone.conf").out
    credentials = drill.relay.run("cat", f"{ENTRIES}/{name}/credentials").out
    identity = drill.stolen_key()
    return {
        "SOURCE": name, "ENDPOINT": endpoint, "REGION": where.region, "BUCKET": where.bucket, "REPOSITORY": path,
        "PREFIX": re.sub(r"g\d+/$", "", path), "CHECKSUM": where.uploads().checksum.value, "CA": ca,
        "ARGUMENTS": "".join(f"{one}\n" for one in re.findall(r"^arg (.*)$", serve, re.MULTILINE)),
        "LOCK_MODE": "GOVERNANCE", "MINIMUM_DAYS": "1", "ACCEPTED": "",
        "RCLONE_CONF": re.sub(r"^endpoint = .*$", f"endpoint = {endpoint}", conf, flags=re.MULTILINE),
        "CREDENTIALS": credentials,
        "ACCESS_KEY_ID": identity.access_key_id, "SECRET_ACCESS_KEY": identity.secret_access_key.get_secret_value(),
    }  # fmt: skip


def step(drill: Drill, endpoint: str, ca: str) -> tuple[int, str]:
    """Run the storage step on the relay as `pulumi up` runs it. Returns its exit code and what it said."""
    from components.host.program_texts import script_text

    text = script_text("storage_check", values(drill, endpoint, ca))
    done = drill.relay.run("sh", "-s", "--", "apply", stdin=text, check=False, seconds=120)
    return done.code, done.said


@contextmanager
def weaker(drill: Drill, sandbox: Path) -> Iterator[WeakStorage]:
    """Put a proxy in front of the sandbox's storage, on the relay's loopback interface, and let the source's account reach it."""
    from sandbox import Sandbox

    box = Sandbox(sandbox)
    ca = box.storage_folder / "certs" / "ca.crt"
    with (
        private_folder("weak", drill.folder) as folder,
        weak_storage(
            drill.where.endpoint, ca, drill.where.bucket, folder, box.driver.network_of("relay")
        ) as made,
    ):
        element = f"element inet lastcopy looked_up4 {{ 127.0.0.1 . {made.port} }}"
        drill.relay.run("nft", f"add {element}")
        try:
            yield made
        finally:
            drill.relay.run("nft", f"delete {element}")


def found(drill: Drill, weak: WeakStorage, weaknesses: Sequence[Weakness]) -> Iterator[RowFinding]:
    weak.weak = tuple(weaknesses)
    code, said = step(drill, weak.endpoint, weak.ca)
    for one in weaknesses:
        told = next((line for line in said.splitlines() if one.told in line), "")
        named = one.row == "A10" or f"row {one.row} of docs/threat-model.md" in told
        yield judged(
            f"a storage that {one.name}",
            bool(told) and named,
            told or f"it is not reported; exit code {code}",
        )
    if any(one.refused for one in weaknesses):
        yield judged("nothing else is written there", code == 1, f"exit code {code}")


def play(drill: Drill) -> Iterator[RowFinding]:
    where = drill.where
    if not where.bucket:
        yield not_played("the storage step", "this storage is no S3 bucket")
        return
    if not drill.may(Level.SCRATCH):
        yield not_played("the storage step with this stack's storage", Level.SCRATCH.words)
        return
    code, said = step(drill, where.endpoint, where.ca_certificate or "")
    yield control("this stack's storage passes the step", code == 0, said.strip())
    if drill.sandbox is None or not drill.may(Level.TRIAL):
        yield not_played(
            "storages that are weak on purpose", "needs the local stack (--sandbox) and --trial-stack"
        )
        return
    with weaker(drill, drill.sandbox) as weak:
        code, said = step(drill, weak.endpoint, weak.ca)
        yield control(
            "the same storage behind the proxy passes as well",
            code == 0 and "warning" not in said,
            said.strip(),
        )
        yield from found(drill, weak, [one for one in WEAKNESSES if one.name not in ALONE])
        for name in ALONE:
            yield from found(drill, weak, [one for one in WEAKNESSES if one.name == name])
