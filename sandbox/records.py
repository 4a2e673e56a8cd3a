"""What the runtime folder says of a sandbox and its machines."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox.plan import SandboxMachine, sandbox_id

FORMAT = 1


def new_record(directory: Path, network: IPv4Network, driver: str) -> dict[str, Any]:
    """Of a sandbox that does not exist yet."""
    return {"format": FORMAT, "id": sandbox_id(directory), "network": str(network), "driver": driver}


def recorded_machine(name: str, record: dict[str, Any]) -> SandboxMachine:
    """As it was written down; one of before there was a choice is Debian 13 with its tool."""
    return SandboxMachine(
        name, record["role"], record["slot"], record.get("debian", 13), record.get("tool", True)
    )
