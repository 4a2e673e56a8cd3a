"""One sandbox with a relay for all of these tests; needs root. Tests take `ready` to use it, `changing` to change it."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.bucket import SandboxBucket
from tests.networks import free_network
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.snapshot import Snapshot

BUCKET = SandboxBucket("backups", "COMPLIANCE", 1)
IDENTITIES = {"web1": ("web1key", "web1-secret-0123456789"), "db1": ("db1key", "db1-secret-0123456789")}


@pytest.fixture(scope="package")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A fresh relay that knows nothing of us, and the storage; nothing of the program has run."""
    work = tmp_path_factory.mktemp("relay")
    box = Sandbox(work / "box")
    try:
        with (Path(tempfile.gettempdir()) / "lastcopy-test-networks").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # other workers may look for a free range at this moment
            box.network_up(free_network(), "nspawn")
        with ThreadPoolExecutor() as pool:
            storage = pool.submit(box.storage_up, BUCKET)
            relay = pool.submit(box.machine_up, "relay", "relay")
        for name, (access_key, secret) in IDENTITIES.items():
            box.identity_up(name, f"{name}/", access_key, secret)
        storage.result()
        (work / "keys").mkdir(mode=0o700)
        facts = {"relay": relay.result(), "storage": storage.result()}
        yield Chain(box, facts, work / "keys")
    finally:
        box.destroy()


def furnish(chain: Chain) -> None:
    """Run every step of the relay, in the program's order."""
    for step in (
        chain.sshd(),
        chain.sshd("confirm"),
        chain.firewall(),
        chain.firewall("confirm"),
        chain.shared(),
        *(chain.entry(name, identity=identity) for name, identity in IDENTITIES.items()),
    ):
        chain.inside(step)


def furnished(chain: Chain) -> None:
    """As `furnish` leaves it: from the snapshot of it where that suffices, by the steps where a test changed more."""
    if chain.furnished:
        return
    if chain.snapshot is None or not chain.snapshot.put_back(chain):
        furnish(chain)
        chain.snapshot = Snapshot.of(chain)
    chain.furnished = True


@pytest.fixture(scope="package")
def older(chain: Chain) -> Chain:
    """A relay that runs Debian 12, has no rclone and no way to the Internet, beside the other one."""
    facts = {
        "older": chain.box.machine_up("older", "relay", debian=12, tool=False),
        "storage": chain.storage,
    }
    return Chain(chain.box, facts, chain.keys, "older", "/usr/local/lib/lastcopy/rclone-1.76.0/rclone")


@pytest.fixture
def ready(chain: Chain) -> Chain:
    """The relay as `pulumi up` leaves it, with sources web1 and db1. The test must not change it."""
    furnished(chain)
    return chain


@pytest.fixture
def changing(ready: Chain) -> Chain:
    """Like `ready`, for a test that changes the relay: the next test gets it as it was before."""
    ready.furnished = False
    return ready
