"""The sandbox's verbs. Each converges, takes the locks it needs and returns the facts that are printed.

Locks are taken in this order: the runtime folder (shared for a machine or the storage, exclusive for the network and destroy), then the machine
or the storage, then briefly the network plan. Boots are awaited outside the last lock, so machines start in parallel.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox import bucket as buckets
from sandbox import storage_server
from sandbox.bucket import SandboxBucket
from sandbox.driver import Driver, choose, driver
from sandbox.errors import SandboxError
from sandbox.folder import SandboxFolder
from sandbox.image import ADMIN, DEBIAN
from sandbox.keys import make_key
from sandbox.nspawn import Nspawn
from sandbox.plan import (
    AddressPlan,
    Role,
    SandboxMachine,
    machine_name,
    parse_network,
    refuse_change,
    sandbox_id,
)
from sandbox.policy import BUCKET, check_identity
from sandbox.records import new_record, recorded_machine
from sandbox.store import hold, read_json, write_json

Facts = dict[str, Any]


class Sandbox(SandboxFolder):
    """One sandbox, known by its runtime folder."""

    # network

    def network_up(self, network: str, wanted: str = "auto") -> Facts:
        """Ensure that image, network and admin key exist."""
        range_ = parse_network(network)
        with hold(self.directory, make=True):
            record = read_json(self._record)
            if record is None:
                record = new_record(self.directory, range_, choose(wanted))
                self._remove_lost()
            elif IPv4Network(record["network"]) != range_ or wanted not in ("auto", record["driver"]):
                raise SandboxError(
                    f"this sandbox has network {record['network']} and driver {record['driver']}",
                    where="--network, --driver",
                    fix=f"keep them, or lastcopy sandbox destroy --dir {self.directory} first",
                )
            plan, machines = AddressPlan(record["id"], range_), self.machines()
            chosen = driver(record["driver"], self.directory, plan)
            chosen.refuse_conflict()
            chosen.prepare()
            write_json(self._record, record)
            (self.directory / "machines").mkdir(exist_ok=True)
            make_key(self.admin_key, "lastcopy-sandbox-admin")
            chosen.network_up(machines)
            for machine in machines:
                chosen.machine_wire(machine)
        return {
            "driver": chosen.name,
            "admin_key_path": str(self.admin_key),
            "network": str(range_),
            "host_address": str(plan.workstation),
        }

    def network_down(self) -> Facts:
        """The same as `destroy`: without the network nothing of the sandbox can exist."""
        return self.destroy()

    def resume(self) -> Facts:
        """Start everything again after a reboot of the workstation."""
        record = read_json(self._record)
        if record is None:
            self._open()
        self.network_up(record["network"])
        made = read_json(self.storage_folder / "bucket.json")
        if made:
            self.storage_up(SandboxBucket(**made))
        for machine in self.machines():
            self.machine_up(machine.name, machine.role, debian=machine.debian, tool=machine.tool)
        return self.status()

    # machines

    def machine_up(self, name: str, role: Role, *, debian: int = DEBIAN, tool: bool = True) -> Facts:
        """Ensure that the machine exists, is on the network and answers ssh.

        ``debian``: its release, 12 or 13. ``tool``: whether its role's tool (rclone or restic) is installed in it.
        """
        folder = self._machine_folder(name)
        with self._shared() as (plan, chosen), hold(folder, make=True):
            with hold(self.directory / "machines"):
                machine = self._allot(plan, name, role, debian, tool)
                if not (folder / "machine.json").exists():
                    make_key(folder / "host_ed25519", f"root@{name}")
                    admin = self.admin_key.with_name("admin_ed25519.pub").read_text().strip()
                    chosen.machine_make(machine, folder / "host_ed25519", admin)
                    record = {"role": role, "slot": machine.slot, "debian": debian, "tool": tool}
                    write_json(folder / "machine.json", record)  # from here on the machine exists
                chosen.network_up(self.machines())
                chosen.machine_wire(machine)
            chosen.machine_start(machine, self.machines())
            chosen.machine_wait(machine)
            return self._machine_facts(plan, chosen, machine)

    def _allot(self, plan: AddressPlan, name: str, role: Role, debian: int, tool: bool) -> SandboxMachine:
        """The machine's slot, kept for its name for as long as the sandbox exists."""
        record = read_json(self._machine_folder(name) / "machine.json")
        if record:
            refuse_change(recorded_machine(name, record), role, debian, tool, self.directory)
        file = self.directory / "slots.json"
        slots: dict[str, int] = read_json(file) or {}
        if name not in slots:
            slots[name] = plan.first_free(slots.values())
            plan.address(slots[name])  # refuses a full range before the slot is recorded
            write_json(file, slots)
        return SandboxMachine(name, role, slots[name], debian, tool)

    def _machine_facts(self, plan: AddressPlan, chosen: Driver, machine: SandboxMachine) -> Facts:
        public = (self._machine_folder(machine.name) / "host_ed25519.pub").read_text().split()
        address, port = chosen.dial(machine)
        return {
            "name": machine.name,
            "address": address,
            "port": port,
            "private_address": str(plan.address(machine.slot)),
            "user": ADMIN,
            "host_key": " ".join(public[:2]),
        }

    def machine_down(self, name: str) -> Facts:
        """Remove the machine and everything in it; its address remains reserved."""
        folder = self._machine_folder(name)
        if not self.exists():
            return {"name": name, "removed": False}
        with self._shared() as (_, chosen):
            slot = (read_json(self.directory / "slots.json") or {}).get(name)
            if not folder.exists():
                chosen.machine_drop(name, slot)
                return {"name": name, "removed": False}
            with hold(folder):
                chosen.machine_drop(name, slot)
                # First: from here on the machine no longer exists.
                (folder / "machine.json").unlink(missing_ok=True)
                with hold(self.directory / "machines"):
                    chosen.network_up(self.machines())
                shutil.rmtree(folder)
        return {"name": name, "removed": True}

    def machine_restart(self, name: str) -> Facts:
        """Shut down cleanly and boot again, as in a reboot; the machine's files are kept."""
        with self._shared() as (plan, chosen), hold(self._machine_folder(name)):
            machine = self.machine(name)
            chosen.machine_stop(machine)
            chosen.machine_start(machine, self.machines())
            chosen.machine_wait(machine)
            return self._machine_facts(plan, chosen, machine)

    def command(self, name: str, argv: list[str]) -> list[str]:
        """The command line that runs `argv` as root inside the machine."""
        self.machine(name)
        return self.driver.command(name, argv)

    # storage

    def storage_up(self, wanted: SandboxBucket) -> Facts:
        """Ensure that the storage answers and the bucket has exactly this lock."""
        if not BUCKET.fullmatch(wanted.name):
            raise SandboxError(
                f"bucket name {wanted.name!r} is not allowed",
                where="--bucket",
                fix="use 3 to 63 of a-z, 0-9 and '-'",
            )
        if wanted.lock_mode not in ("COMPLIANCE", "GOVERNANCE") or not 1 <= wanted.lock_days <= 36500:
            raise SandboxError(
                "lock refused", where="--lock-mode, --lock-days", fix="COMPLIANCE or GOVERNANCE, 1 to 36500"
            )
        folder = self.storage_folder
        with self._shared() as (_, chosen), hold(folder, make=True):
            storage_server.prepare_files(folder, chosen.storage_address)
            with hold(self.directory / "machines"):
                chosen.network_up(self.machines())
                chosen.storage_start(folder)
            with chosen.storage_dial() as origin:
                buckets.wait_ready(folder, origin, lambda: chosen.storage_check(folder))
                buckets.ensure_bucket(folder, origin, wanted)
            write_json(folder / "bucket.json", asdict(wanted))
        return {
            "endpoint": f"https://{chosen.storage_address}:{storage_server.PORT}",
            "bucket": wanted.name,
            "region": storage_server.REGION,
            "ca_certificate": (folder / "certs" / "ca.crt").read_text(),
            "lock_mode": wanted.lock_mode,
            "lock_days": wanted.lock_days,
        }

    def storage_down(self) -> Facts:
        """Remove the storage and every object in it, locked or not: the sandbox's storage is only for tests."""
        if not self.exists():
            return {"removed": False}
        with self._shared() as (_, chosen):
            if not self.storage_folder.exists():
                chosen.storage_drop(self.storage_folder)
                return {"removed": False}
            with hold(self.storage_folder):
                chosen.storage_drop(self.storage_folder)
                shutil.rmtree(self.storage_folder)
        return {"removed": True}

    @contextmanager
    def storage_admin(self) -> Iterator[tuple[str, str, str, str]]:
        """Let this thread reach the storage. Yields origin, path of the CA certificate, root access key and secret key. For tests and drills."""
        folder = self.storage_folder
        with self.driver.storage_dial() as origin:
            yield origin, str(folder / "certs" / "ca.crt"), *storage_server.root_credentials(folder)

    # identities

    def identity_up(self, source: str, prefix: str, access_key: str, secret_key: str) -> Facts:
        """Ensure that the source's storage identity has this key and exactly a source's rights below the prefix."""
        with self._storage() as (chosen, folder, bucket):
            known: dict[str, dict[str, str]] = read_json(folder / "identities.json") or {}
            mine = known.get(machine_name(source), {})
            others = {name: entry["prefix"] for name, entry in known.items() if name != source}
            check_identity(prefix, access_key, secret_key, others)
            if any(access_key == entry["access_key"] for name, entry in known.items() if name != source):
                raise SandboxError(f"access key {access_key} belongs to another source", where="--access-key")
            # Recorded before it is created, so that a run killed in between leaves nothing unknown.
            retired = sorted(
                {mine.get("access_key", access_key), *mine.get("retired", "").split()} - {access_key}
            )
            entry = {"prefix": prefix, "access_key": access_key, "retired": " ".join(retired)}
            write_json(folder / "identities.json", {**known, source: entry})
            with chosen.storage_dial() as origin:
                buckets.ensure_identity(folder, origin, bucket, prefix, access_key, secret_key)
                for old in retired:
                    buckets.remove_identity(folder, origin, old)
            write_json(folder / "identities.json", {**known, source: {**entry, "retired": ""}})
        return {"access_key": access_key, "prefix": prefix}

    def identity_down(self, source: str) -> Facts:
        """Remove the source's identity; its objects are kept."""
        if not (self.storage_folder / "identities.json").exists():
            return {"source": source, "removed": False}
        with self._storage() as (chosen, folder, _):
            known: dict[str, dict[str, str]] = read_json(folder / "identities.json") or {}
            mine = known.pop(source, None)
            if mine is None:
                return {"source": source, "removed": False}
            with chosen.storage_dial() as origin:
                for key in (mine["access_key"], *mine["retired"].split()):
                    buckets.remove_identity(folder, origin, key)
            write_json(folder / "identities.json", known)
        return {"source": source, "removed": True}

    @contextmanager
    def _storage(self) -> Iterator[tuple[Driver, Path, str]]:
        with self._shared() as (_, chosen), hold(self.storage_folder):
            made = read_json(self.storage_folder / "bucket.json")
            if made is None:
                raise SandboxError("the storage is not up", fix="lastcopy sandbox storage-up …")
            chosen.storage_check(self.storage_folder)
            yield chosen, self.storage_folder, made["name"]

    # all

    def destroy(self) -> Facts:
        """Remove everything: machines, processes, mounts, namespaces, interfaces, rules, files."""
        if not self.directory.exists():
            return {"removed": self._remove_lost()}
        with hold(self.directory):
            record = read_json(self._record)
            if record is not None:
                self.driver.network_down()
            elif all(entry.name.startswith(".sandbox.json.") for entry in self.directory.iterdir()):
                self._remove_lost()
            else:
                fix = "pass the sandbox's folder with --dir"
                raise SandboxError(
                    "this folder does not belong to a sandbox", where=str(self.directory), fix=fix
                )
            shutil.rmtree(self.directory)
        return {"removed": True}

    def _remove_lost(self) -> bool:
        """Remove what is left of a sandbox whose folder was deleted; its id follows from the path."""
        lost = Nspawn(self.directory, AddressPlan(sandbox_id(self.directory), IPv4Network("198.51.100.0/24")))
        if Nspawn.missing() or not lost.exists():
            return False
        lost.network_down()
        return True

    def status(self) -> Facts:
        """Describe what exists, where, and whether it runs."""
        plan, chosen = self._open()
        machines = []
        for machine in self.machines():
            running = chosen.machine_running(machine.name)
            machines.append(
                {**self._machine_facts(plan, chosen, machine), "role": machine.role, "running": running}
            )
        made = read_json(self.storage_folder / "bucket.json") or {}
        try:
            chosen.storage_check(self.storage_folder)
            up = bool(made)
        except SandboxError:
            up = False
        return {
            "driver": chosen.name,
            "network": str(plan.network),
            "admin_key_path": str(self.admin_key),
            "machines": machines,
            "storage": {
                "endpoint": f"https://{chosen.storage_address}:{storage_server.PORT}",
                "running": up,
                **made,
            },
        }
