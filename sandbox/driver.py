"""The interface of the drivers that run machines, and the choice between them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sandbox.errors import SandboxError
from sandbox.nspawn import Nspawn
from sandbox.plan import AddressPlan, SandboxMachine

DRIVERS = ("nspawn", "podman")


class Driver(Protocol):
    """Runs machines. Every method converges; none takes locks, or keeps records other than its own."""

    @property
    def name(self) -> str: ...

    def prepare(self) -> None:
        """Create the base image."""

    def refuse_conflict(self) -> None:
        """Raise if the address range is in use on this workstation."""

    def network_up(self, machines: Sequence[SandboxMachine]) -> None:
        """Create the networks, and admit exactly these machines."""

    def network_down(self) -> None:
        """Remove everything of the sandbox outside its runtime folder."""

    def machine_make(self, machine: SandboxMachine, host_key: Path, admin_key: str) -> None:
        """Create the machine's own files, without starting it."""

    def machine_wire(self, machine: SandboxMachine) -> None:
        """Connect the machine to the network."""

    def machine_start(self, machine: SandboxMachine, machines: Sequence[SandboxMachine]) -> None: ...

    def machine_wait(self, machine: SandboxMachine) -> None:
        """Wait until the machine answers ssh."""

    def machine_stop(self, machine: SandboxMachine) -> None: ...

    def machine_drop(self, name: str, slot: int | None) -> None:
        """Stop the machine and disconnect it from the network."""

    def machine_running(self, name: str) -> bool: ...

    def dial(self, machine: SandboxMachine) -> tuple[str, int]:
        """The address and port at which the workstation reaches its sshd."""

    def command(self, name: str, argv: Sequence[str]) -> list[str]:
        """A command line that runs `argv` as root inside the machine."""

    @property
    def storage_address(self) -> str: ...

    def storage_start(self, folder: Path) -> None: ...

    def storage_check(self, folder: Path) -> None:
        """Raise if the server has ended."""

    def storage_drop(self, folder: Path) -> None: ...

    def storage_dial(self) -> AbstractContextManager[str]:
        """Let this thread reach the storage, at the origin that is yielded."""

    def network_of(self, name: str) -> AbstractContextManager[None]:
        """Let this thread's connections come from a machine."""


def lacks(name: str) -> list[str]:
    """What this host lacks for a driver."""
    if name == "nspawn":
        return Nspawn.missing()
    return [] if shutil.which(name) else [f"`{name}`"]


def choose(wanted: str) -> str:
    """The named driver if it can run here; for `auto` the first one that can."""
    if wanted != "auto":
        if wanted not in DRIVERS:
            raise SandboxError(
                f"no driver {wanted!r}", where="--driver", fix=f"use auto, {', '.join(DRIVERS)}"
            )
        missing = lacks(wanted)
        if missing:
            raise SandboxError(
                f"driver {wanted} needs {', '.join(missing)}",
                where="--driver",
                fix="lastcopy sandbox prepare (as root)",
            )
        return wanted
    for name in DRIVERS:
        if not lacks(name):
            return name
    reasons = "".join(f"\n    {name} lacks {', '.join(lacks(name))}" for name in DRIVERS)
    fix = "as root on Debian or Ubuntu: lastcopy sandbox prepare; else install podman"
    raise SandboxError(f"no way to run machines on this {sys.platform} host:{reasons}", fix=fix)


def driver(name: str, directory: Path, plan: AddressPlan) -> Driver:
    """The driver with which a sandbox was made."""
    if name == "nspawn":
        return Nspawn(directory, plan)
    if name == "podman":
        from sandbox.podman import Podman

        return Podman(directory, plan)
    raise SandboxError(
        f"this sandbox was made with driver {name}, which no longer exists",
        where=str(directory),
        fix=f"use {name} itself to remove everything with the label lastcopy.sandbox={plan.id}, then remove this folder",
    )
