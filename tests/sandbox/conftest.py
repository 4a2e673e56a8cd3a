"""One real sandbox for the whole session, beside one that the user may run; needs root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.bucket import SandboxBucket
from toolchain.checkout import ROOT

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
NETWORK = f"198.18.{64 + WORKER}.0/24"  # a range reserved for tests of networks, separate from the user's and from other workers'
BUCKET = SandboxBucket("backups", "COMPLIANCE", 1)
MACHINES = {"relay": "relay", "web1": "source", "db1": "source"}
KEYS = {"web1": ("web1key", "web1-secret-0123456789"), "db1": ("db1key", "db1-secret-0123456789")}


def bring_up(box: Sandbox) -> None:
    """Create everything concurrently, as the engine does."""
    box.network_up(NETWORK, "nspawn")
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(box.storage_up, BUCKET)]
        waiting += [pool.submit(box.machine_up, name, role) for name, role in MACHINES.items()]  # type: ignore[arg-type]
    for future in waiting:
        future.result()


@pytest.fixture(scope="package")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("sandbox") / "box")
    try:
        bring_up(made)
        for source, (access_key, secret) in KEYS.items():
            made.identity_up(source, f"{source}/", access_key, secret)
        yield made
    finally:
        made.destroy()


def cli(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`python -m sandbox …` as the engine calls it."""
    root = ROOT
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *argv],
        cwd=root,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def inside(box: Sandbox, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command as root in a machine."""
    return subprocess.run(box.command(name, list(argv)), capture_output=True, text=True, check=False)


def login_at(box: Sandbox, facts: Mapping[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    """ssh as the cloud image's admin, with the host key of the facts pinned and no other accepted."""
    known = box.directory / "known"
    known.write_text(f"it {facts['host_key']}\n")
    options = (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={known}",
        "HostKeyAlias=it",
        "IdentitiesOnly=yes",
    )
    argv = ["ssh", "-F", "none", *(f"-o{option}" for option in options), "-i", str(box.admin_key)]
    argv += ["-p", str(facts["port"]), f"{facts['user']}@{facts['address']}", *command]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        known.unlink()
