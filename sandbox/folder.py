"""A sandbox's runtime folder: what is recorded in it, and the lock that its verbs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from sandbox.driver import Driver, driver
from sandbox.errors import SandboxError
from sandbox.plan import AddressPlan, SandboxMachine, machine_name
from sandbox.records import recorded_machine
from sandbox.store import hold, read_json


class SandboxFolder:
    """The runtime folder, read: nothing here makes or changes anything."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory).resolve()
        if set(str(self.directory)) & set(":,\\\"' \n"):  # would end a mount option or a bind
            raise SandboxError(
                "the folder's path contains a space, quote, ':', ',' or '\\'",
                where=str(self.directory),
                fix="use another --dir, or move the checkout",
            )
        if self.directory.is_relative_to("/run"):
            raise SandboxError("a sandbox cannot live below /run", where="--dir", fix="use another --dir")

    @property
    def _record(self) -> Path:
        return self.directory / "sandbox.json"

    @property
    def admin_key(self) -> Path:
        return self.directory / "admin_ed25519"

    @property
    def storage_folder(self) -> Path:
        return self.directory / "storage"

    def _machine_folder(self, name: str) -> Path:
        return self.directory / "machines" / machine_name(name)

    def exists(self) -> bool:
        return self._record.exists()

    def _open(self) -> tuple[AddressPlan, Driver]:
        record = read_json(self._record)
        if record is None:
            fix = f"lastcopy sandbox network-up --dir {self.directory} --network 198.51.100.0/24"
            raise SandboxError("there is no sandbox here", where=str(self.directory), fix=fix)
        plan = AddressPlan(record["id"], IPv4Network(record["network"]))
        return plan, driver(record["driver"], self.directory, plan)

    @property
    def plan(self) -> AddressPlan:
        return self._open()[0]

    @property
    def driver(self) -> Driver:
        return self._open()[1]

    def machines(self) -> list[SandboxMachine]:
        """Every machine that was made, by slot."""
        found = []
        for file in sorted((self.directory / "machines").glob("*/machine.json")):
            known = read_json(file)
            if known:
                found.append(recorded_machine(file.parent.name, known))
        return sorted(found, key=lambda machine: machine.slot)

    def machine(self, name: str) -> SandboxMachine:
        known = read_json(self._machine_folder(name) / "machine.json")
        if known is None:
            fix = f"lastcopy sandbox machine-up --dir {self.directory} --name {name} --role source"
            raise SandboxError(f"there is no machine {name}", where=str(self.directory), fix=fix)
        return recorded_machine(name, known)

    @contextmanager
    def _shared(self) -> Iterator[tuple[AddressPlan, Driver]]:
        self._open()  # fail with a helpful error before taking any lock
        with hold(self.directory, shared=True):
            yield self._open()
