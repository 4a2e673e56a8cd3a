"""rclone as the relay runs it, in front of a gate or a server, with the rclone.conf and arguments that the program makes for the service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from components.storage.service_facts import ChecksumChoice, ServiceName
from tests.enforced.relayed_repository import RelayedRepository
from tests.enforced.servers import Identity, Server
from tests.enforced.vault import Vault
from tests.gates.gate import Gate


@dataclass(frozen=True)
class ServerAddress:
    """What a `RelayedRepository` needs to know of a server: its endpoint, and the certificate authority to trust."""

    name: str
    endpoint: str
    ca: Path


def repository_behind(
    gate: Gate,
    vault: Vault,
    identity: Identity,
    folder: Path,
    service: ServiceName = "Minio",
    checksum: ChecksumChoice = "auto",
) -> RelayedRepository:
    """web1's repository, reached through the gate, as for a stack file with this provider and checksum."""
    place = cast(Server, ServerAddress(vault.server.name, gate.endpoint, gate.ca))
    known = gate.knows(identity)
    return RelayedRepository(
        Vault(place, vault.bucket), "web1", known, folder, service=service, checksum=checksum
    )
