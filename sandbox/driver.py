"""What a way of running machines must offer, and the choice between them."""

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

DRIVERS = ("nspawn", "podman", "docker")


class Driver(Protocol):
    """Every method converges; none takes locks or keeps records other than its own."""

    @property
    def name(self) -> str: ...

    def prepare(self) -> None:
        """The base image is there."""

    def refuse_conflict(self) -> None:
        """Raise when the address range is in use on this workstation."""

    def network_up(self, machines: Sequence[SandboxMachine]) -> None:
        """The networks are there and admit exactly these machines."""

    def network_down(self) -> None:
        """Nothing of the sandbox is left outside its runtime folder."""

    def machine_make(self, machine: SandboxMachine, host_key: Path, admin_key: str) -> None:
        """The machine's own files exist; it has not been started."""

    def machine_wire(self, machine: SandboxMachine) -> None:
        """The machine's place on the network is there."""

    def machine_start(self, machine: SandboxMachine, machines: Sequence[SandboxMachine]) -> None: ...

    def machine_wait(self, machine: SandboxMachine) -> None:
        """It answers ssh."""

    def machine_stop(self, machine: SandboxMachine) -> None: ...

    def machine_drop(self, name: str, slot: int | None) -> None:
        """The machine is ended and off the network."""

    def machine_running(self, name: str) -> bool: ...

    def dial(self, machine: SandboxMachine) -> tuple[str, int]:
        """Address and port at which the workstation reaches its sshd."""

    def command(self, name: str, argv: Sequence[str]) -> list[str]:
        """A command line that runs `argv` as root inside the machine."""

    @property
    def storage_address(self) -> str: ...

    def storage_start(self, folder: Path) -> None: ...

    def storage_check(self, folder: Path) -> None:
        """Raise when the server ended."""

    def storage_drop(self, folder: Path) -> None: ...

    def storage_dial(self) -> AbstractContextManager[str]:
        """Within: this thread reaches the storage at the origin yielded."""

    def network_of(self, name: str) -> AbstractContextManager[None]:
        """Within: this thread's connections come from that machine."""


def lacks(name: str) -> list[str]:
    """What this host lacks for that driver."""
    if name == "nspawn":
        return Nspawn.missing()
    return [] if shutil.which(name) else [f"`{name}`"]


def choose(wanted: str) -> str:
    """The named driver when it can run here, or for `auto` the first that can."""
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
                fix="python -m sandbox prepare (as root)",
            )
        return wanted
    for name in DRIVERS:
        if not lacks(name):
            return name
    reasons = "".join(f"\n    {name} lacks {', '.join(lacks(name))}" for name in DRIVERS)
    fix = "as root on Debian or Ubuntu: python -m sandbox prepare; else install podman or docker"
    raise SandboxError(f"no way to run machines on this {sys.platform} host:{reasons}", fix=fix)


def driver(name: str, directory: Path, plan: AddressPlan) -> Driver:
    if name == "nspawn":
        return Nspawn(directory, plan)
    from sandbox.engine import Engine

    return Engine(name, directory, plan)
