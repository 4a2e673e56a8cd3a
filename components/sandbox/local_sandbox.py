"""LocalSandbox: the relay, the sources and the locked storage of a local stack, as machines on this workstation."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_random as random
from pulumi_command import local

from components.host.connection import Host
from components.vault.vault_access import S3Vault, StorageIdentity


@dataclass(frozen=True, kw_only=True)
class MachineKind:
    """How a machine is made: its release of Debian, and whether it fetches tools itself; otherwise it is made without its tool."""

    debian: int = 13
    fetches: bool = True

    def words(self) -> list[str]:
        """The options of `machine-up` that differ from its defaults."""
        debian = [] if self.debian == 13 else ["--debian", str(self.debian)]
        return [*debian, *([] if self.fetches else ["--no-tool"])]


@dataclass(frozen=True, kw_only=True)
class LocalSandboxArgs:
    """``directory`` holds the sandbox's runtime files; ``network`` is an IPv4 range in CIDR form that nothing else on this machine uses.

    ``machines`` are the sources that the sandbox makes; ``sources`` are all sources of the stack, each of which gets its own storage identity.
    ``kinds``: how they and the ``relay`` are made, if not by default.
    """

    directory: Path
    network: str
    driver: str
    machines: tuple[str, ...]
    sources: tuple[str, ...]
    lock_mode: str
    lock_days: int
    bucket: str = "backups"
    kinds: Mapping[str, MachineKind] = field(default_factory=dict)


class LocalSandbox(pulumi.ComponentResource):
    """A source can reach only the relay; only the relay can reach the storage; the storage keeps every object for its lock time.

    Pulumi type ``lastcopy:sandbox:LocalSandbox``. Children: ``<name>-network``, ``<name>-storage``, ``<name>-machine-relay``, one
    ``<name>-machine-<source>`` for each source in the sandbox and, for each source, ``<name>-secret-<source>``
    (random.RandomPassword) and ``<name>-identity-<source>``.
    All are pulumi-command local.Command resources that run ``python -m sandbox``; every verb converges when it is run again (A7).
    Host keys are made before a machine's first boot, so even the first connection is pinned (A1).
    Outputs: ``relay`` and ``hosts`` (name -> Host), ``vault``. For trials and tests: root on this workstation is root everywhere in it.
    """

    relay: Host
    hosts: dict[str, Host]
    vault: S3Vault

    def __init__(self, name: str, args: LocalSandboxArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:sandbox:LocalSandbox", name, {"network": args.network, "driver": args.driver}, opts
        )
        self._name, self._args = name, args
        self._network = self._create(
            "network",
            up=["network-up", "--network", args.network, "--driver", args.driver],
            down=["network-down"],
        )
        # Read while the program runs and passed on as a secret, so that no command prints the key.
        key = self._network.stdout.apply(lambda text: Path(json.loads(text)["admin_key_path"]).read_text())
        self._admin_key: pulumi.Output[str] = pulumi.Output.secret(key)
        lock = ["--lock-mode", args.lock_mode, "--lock-days", str(args.lock_days)]
        storage = self._create(
            "storage",
            up=["storage-up", "--bucket", args.bucket, *lock],
            down=["storage-down"],
            depends_on=[self._network],
        )
        facts = storage.stdout.apply(json.loads)
        self.relay = self._create_machine("relay", "relay")
        self.hosts = {source: self._create_machine(source, "source") for source in args.machines}
        self.vault = S3Vault(
            endpoint=facts["endpoint"],
            region="us-east-1",
            bucket=args.bucket,
            provider="Minio",
            lock_mode=args.lock_mode,
            lock_minimum_days=args.lock_days,
            ca_certificate=facts["ca_certificate"],
            identities={source: self._create_identity(source, storage) for source in args.sources},
        )
        self.register_outputs({"relay": self.relay.address, "endpoint": facts["endpoint"]})

    def _create(
        self,
        role: str,
        *,
        up: list[str],
        down: list[str],
        stdin: pulumi.Input[str] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> local.Command:
        """A part of the sandbox, made by one command of `python -m sandbox` and removed by another."""

        def line(words: list[str]) -> str:
            folder = ["--dir", str(self._args.directory)]
            return shlex.join([sys.executable, "-m", "sandbox", words[0], *folder, *words[1:]])

        return local.Command(
            f"{self._name}-{role}",
            create=line(up),
            delete=line(down),
            dir=str(Path.cwd()),
            stdin=stdin,
            add_previous_output_in_env=False,
            # Deleting the network removes whatever is left, so it comes last, when nothing else needs to be reached.
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )

    def _create_machine(self, machine: str, role: str) -> Host:
        kind = self._args.kinds.get(machine, MachineKind())
        command = self._create(
            f"machine-{machine}",
            up=["machine-up", "--name", machine, "--role", role, *kind.words()],
            down=["machine-down", "--name", machine],
            depends_on=[self._network],
        )
        facts = command.stdout.apply(json.loads)
        return Host(
            name=machine,
            address=facts["address"],
            port=facts["port"],
            user=facts["user"],
            host_key=facts["host_key"],
            private_key=self._admin_key,
            ready=(command,),
            machine=command,
            fetches=kind.fetches,
        )

    def _create_identity(self, source: str, storage: local.Command) -> StorageIdentity:
        secret = random.RandomPassword(
            f"{self._name}-secret-{source}",
            length=40,
            special=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        access_key = _access_key(source)
        identity = self._create(
            f"identity-{source}",
            up=["identity-up", "--source", source, "--prefix", f"{source}/", "--access-key", access_key],
            down=["identity-down", "--source", source],
            stdin=secret.result,
            depends_on=[storage],
        )
        return StorageIdentity(
            access_key_id=identity.stdout.apply(lambda text: str(json.loads(text)["access_key"])),
            secret_access_key=secret.result,
        )


def _access_key(source: str) -> str:
    """The source's access key id: the storage accepts 3 to 20 characters, and two sources must never share one."""
    return (
        f"s-{source}"
        if len(source) <= 18
        else f"s-{source[:9]}{hashlib.sha256(source.encode()).hexdigest()[:9]}"
    )
