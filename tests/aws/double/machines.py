"""EC2's machines: an instance is a machine of the sandbox, and an Elastic IP an address that the sandbox's router translates to it."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import Sandbox, netns
from tests.aws.double import user_data
from tests.aws.double.cloud import Cloud
from tests.aws.double.refused import Refused
from toolchain.checkout import ROOT

FIRST_ELASTIC = 200  # in the sandbox's network; machines count up from .10
Elastic = dict[str, dict[str, str]]


def _sandbox(folder: Path, verb: str, *words: str) -> dict[str, str]:
    """Run a sandbox verb in a separate process: what it starts must outlive this plugin."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", verb, "--dir", str(folder), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Refused(f"the sandbox: {done.stderr.strip()}")
    facts: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return facts


def boot(cloud: Cloud, instance: str, data: str) -> str | None:
    """Boot a new machine, apply the user data, and return its private address."""
    if cloud.sandbox is None:
        return None
    facts = _sandbox(cloud.sandbox, "machine-up", "--name", instance, "--role", "relay")
    try:
        user_data.apply(Sandbox(cloud.sandbox), instance, data)
    except BaseException:
        _sandbox(cloud.sandbox, "machine-down", "--name", instance)
        raise
    return facts["private_address"]


def end(cloud: Cloud, instance: str) -> None:
    if cloud.sandbox is not None:
        _sandbox(cloud.sandbox, "machine-down", "--name", instance)


# Elastic IPs


def lend(cloud: Cloud, allocation: str) -> str | None:
    """Reserve an address of the sandbox's network for this allocation."""
    if cloud.sandbox is None:
        return None
    network = Sandbox(cloud.sandbox).plan.network
    with elastic(cloud.sandbox) as known:
        used = {entry["address"] for entry in known.values()}
        free = (str(network[offset]) for offset in range(FIRST_ELASTIC, network.num_addresses - 1))
        address = next(one for one in free if one not in used)
        known[allocation] = {"address": address, "target": ""}
    return address


def point(cloud: Cloud, allocation: str, instance: str | None) -> None:
    """From now on the address leads to that machine, or to none."""
    if cloud.sandbox is None:
        return
    box = Sandbox(cloud.sandbox)
    target = str(box.plan.address(box.machine(instance).slot)) if instance else ""
    with elastic(cloud.sandbox) as known:
        known[allocation]["target"] = target


def take_back(cloud: Cloud, allocation: str) -> None:
    if cloud.sandbox is not None:
        with elastic(cloud.sandbox) as known:
            known.pop(allocation, None)


@contextmanager
def elastic(folder: Path) -> Iterator[Elastic]:
    """The reserved addresses; the router applies changes that are made within the block."""
    file = folder / "elastic.json"
    with (folder / "elastic.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known: Elastic = json.loads(file.read_text()) if file.exists() else {}
        yield known
        _translate(folder, known)
        file.write_text(json.dumps(known))


def _translate(folder: Path, known: Elastic) -> None:
    plan = Sandbox(folder).plan
    rules = [
        f"ip daddr {ipaddress.ip_address(entry['address'])} dnat to {ipaddress.ip_address(entry['target'])}"
        for entry in known.values()
        if entry["target"]
    ]
    table = f"elastic_{plan.id}"
    text = f"table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n"
    text += "chain arriving { type nat hook prerouting priority dstnat;\n" + "\n".join(rules) + "\n}\n}\n"
    subprocess.run(
        ["nsenter", f"--net={netns.path(plan.router_ns)}", "nft", "-f", "-"],
        input=text,
        text=True,
        check=True,
        capture_output=True,
    )
