"""Driver podman: its rules as text, and the same guarantees with real containers, if podman is installed.

The base image is the nspawn tree, imported under the tag that a build would give, so that no image registry is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sandbox import Sandbox, SandboxError, image
from sandbox.bucket import SandboxBucket
from sandbox.plan import AddressPlan
from sandbox.podman import Podman, gate_rules, source_rules
from tests.sandbox.conftest import WORKER, login_at

PLAN = AddressPlan("0123abcd", IPv4Network("198.51.100.0/24"))
NETWORK = f"198.18.{80 + WORKER}.0/24"
# Debian's podman 4.3 refuses hybrid control groups and raises limits that root may not raise; the product does not need these settings.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""


def test_a_source_connects_only_to_the_relay_and_is_reached_only_from_the_gate() -> None:
    rules = source_rules(PLAN, [IPv4Address("198.51.100.10")], PLAN.workstation)
    accepted = [line.strip() for line in rules.splitlines() if line.strip().endswith("accept")]
    assert accepted == [
        "iif lo accept",
        "ct state established,related accept",
        "ip saddr 198.51.100.2 tcp dport 22 accept",
        "oif lo accept",
        "ct state established,related accept",
        "ip daddr { 198.51.100.10 } accept",
    ]
    assert rules.count("policy drop") == 2


def test_a_source_without_a_relay_connects_nowhere() -> None:
    assert "ip daddr" not in source_rules(PLAN, [], PLAN.workstation)


def test_the_gate_accepts_nothing_from_the_front() -> None:
    assert "ip saddr 198.51.100.0/26 reject" in gate_rules(PLAN, IPv4Network("198.51.100.0/26"))


def test_a_network_too_small_for_three_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="too small"):
        Podman(tmp_path, AddressPlan("0123abcd", IPv4Network("198.51.100.0/26")))


@pytest.fixture(scope="module")
def podman() -> Iterator[Path]:
    """A `podman` with separate storage, first on PATH, that runs on this host whatever its control groups."""
    real = shutil.which("podman")
    assert real is not None, "podman is not installed; fix: `make test`, or `lastcopy test-packages`"
    folder = Path(tempfile.mkdtemp(prefix="podman-"))  # podman accepts no runroot of more than 50 characters
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    script = (
        "[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified; echo ready; exec sleep infinity"
    )
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    keeper = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "ready\n"
    wrapper = folder / "bin" / "podman"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f"#!/bin/sh\nexport CONTAINERS_CONF={folder}/containers.conf\n"
        f"exec nsenter --mount=/proc/{keeper.pid}/ns/mnt {real} --log-level=error "
        f'--root={folder}/root --runroot={folder}/run "$@"\n'
    )
    wrapper.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{wrapper.parent}:{before}"
    try:
        with subprocess.Popen(
            ["tar", "-C", str(image.ensure_tree()), "-c", "."], stdout=subprocess.PIPE
        ) as tar:
            tag = f"localhost/lastcopy-sandbox:{image.digest()}"
            subprocess.run(
                [wrapper, "import", "-q", "-", tag], stdin=tar.stdout, check=True, capture_output=True
            )
        yield wrapper
    finally:
        os.environ["PATH"] = before
        keeper.kill()
        keeper.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pod(podman: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    box = Sandbox(tmp_path_factory.mktemp("pod") / "box")
    try:
        box.network_up(NETWORK, "podman")
        for name, role in (("relay", "relay"), ("web1", "source"), ("db1", "source")):
            box.machine_up(name, role)  # type: ignore[arg-type]
        box.storage_up(SandboxBucket("backups", "COMPLIANCE", 1))
        yield box
    finally:
        box.destroy()
        label = f"label=lastcopy.sandbox={box_id(box)}"
        for kind in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
            left = subprocess.run(
                [podman, *kind, "-q", "--filter", label], capture_output=True, text=True, check=True
            )
            assert left.stdout == ""


def box_id(box: Sandbox) -> str:
    from sandbox.plan import sandbox_id

    return sandbox_id(box.directory)


def inside(box: Sandbox, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(box.command(name, list(argv)), capture_output=True, text=True, check=False)


def reaches(box: Sandbox, name: str, address: str, port: int) -> bool:
    done = inside(box, name, "nc", "-z", "-w", "2", address, str(port))
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def forbidden(box: Sandbox) -> list[tuple[str, str, int]]:
    """Everything that must be unreachable: from where, to which address and port. A server listens at each."""
    db1, front = str(box.plan.address(box.machine("db1").slot)), str(box.plan.network[1])
    storage, gate, outer = box.driver.storage_address, str(box.plan.workstation), str(box.plan.network[130])
    web1 = str(box.plan.address(box.machine("web1").slot))
    sources = [
        ("web1", db1, 22),
        ("web1", storage, 9000),
        ("web1", gate, 2202),
        ("web1", outer, 2202),
        ("web1", front, 22),
    ]
    return [*sources, ("relay", web1, 22), ("relay", gate, 2201), ("relay", outer, 2201)]


def test_a_source_in_a_container_reaches_only_the_relay(pod: Sandbox) -> None:
    relay = str(pod.plan.address(pod.machine("relay").slot))
    assert reaches(pod, "web1", relay, 22)
    assert reaches(pod, "relay", pod.driver.storage_address, 9000)
    assert [target for target in forbidden(pod) if reaches(pod, *target)] == []


def test_root_in_a_source_cannot_remove_the_rules(pod: Sandbox) -> None:
    assert inside(pod, "web1", "nft", "flush", "ruleset").returncode != 0
    assert inside(pod, "web1", "ip", "address", "add", "198.18.1.1/32", "dev", "eth0").returncode != 0
    assert not reaches(pod, "web1", str(pod.plan.address(pod.machine("db1").slot)), 22)


def test_sabotage_without_the_rules_the_check_of_containers_fails(pod: Sandbox, podman: Path) -> None:
    db1 = str(pod.plan.address(pod.machine("db1").slot))
    for name in ("web1", "db1"):
        container = pod.plan.machine_ns(name)
        argv = [podman, "exec", "--privileged", container, "nft", "delete", "table", "inet", pod.plan.table]
        subprocess.run(argv, check=True)
    assert reaches(pod, "web1", db1, 22)
    pod.network_up(NETWORK)
    assert not reaches(pod, "web1", db1, 22)


def test_a_container_answers_ssh_with_its_pinned_key_and_restarts_after_a_kill(
    pod: Sandbox, podman: Path
) -> None:
    facts = pod.machine_up("web1", "source")
    first = login_at(pod, facts, "hostname; sudo touch /var/lib/kept")
    assert (first.returncode, first.stdout) == (0, "web1\n"), first.stderr
    for verb in ("kill", "wait"):  # the first call returns before the container has ended
        subprocess.run([podman, verb, pod.plan.machine_ns("web1")], check=True, capture_output=True)
    assert pod.machine_up("web1", "source") == facts
    again = login_at(pod, facts, "ls /var/lib/kept")
    assert again.stdout == "/var/lib/kept\n", again.stderr
    assert not reaches(
        pod, "web1", str(pod.plan.address(pod.machine("db1").slot)), 22
    )  # the rules were restored, too


def test_the_storage_in_a_container_locks_and_limits_identities(pod: Sandbox) -> None:
    pod.identity_up("web1", "web1/", "web1key", "web1-secret-0123456789")
    with pod.storage_admin() as (origin, ca, *_):
        given: dict[str, Any] = {"endpoint_url": origin, "verify": ca, "region_name": "us-east-1"}
        s3 = boto3.client(
            "s3", aws_access_key_id="web1key", aws_secret_access_key="web1-secret-0123456789", **given
        )
        s3.put_object(Bucket="backups", Key="web1/g1/data/1", Body=b"x")
        for key in ("web1/g1/data/1", "db1/g1/locks/1"):
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.delete_object(Bucket="backups", Key=key)


def test_container_verbs_run_twice_change_nothing(pod: Sandbox) -> None:
    argv = [
        sys.executable,
        "-m",
        "sandbox",
        "machine-up",
        "--dir",
        str(pod.directory),
        "--name",
        "db1",
        "--role",
        "source",
    ]
    runs = [subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert runs[0] == runs[1]
    assert pod.storage_up(SandboxBucket("backups", "COMPLIANCE", 1)) == pod.storage_up(
        SandboxBucket("backups", "COMPLIANCE", 1)
    )
