"""The records of a sandbox and its machines in the runtime folder."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox.plan import SandboxMachine, sandbox_id

FORMAT = 1


def new_record(directory: Path, network: IPv4Network, driver: str) -> dict[str, Any]:
    """The record of a new sandbox."""
    return {"format": FORMAT, "id": sandbox_id(directory), "network": str(network), "driver": driver}


def recorded_machine(name: str, record: dict[str, Any]) -> SandboxMachine:
    """A machine from its record. Records from before there was a choice are of Debian 13 with its tool."""
    return SandboxMachine(
        name, record["role"], record["slot"], record.get("debian", 13), record.get("tool", True)
    )
