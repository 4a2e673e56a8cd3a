"""rclone as the relay runs it, before a gate or a server: the very rclone.conf and arguments that the program puts on the relay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tests.enforced.room import Room
from tests.enforced.servers import Identity, Server
from tests.enforced.vault import Vault
from tests.gates.gate import Gate


@dataclass(frozen=True)
class Place:
    """What a room needs to know of a server: where it is, by which name rclone knows it, whom to trust."""

    name: str
    endpoint: str
    ca: Path


def room_behind(gate: Gate, vault: Vault, identity: Identity, folder: Path) -> Room:
    """web1's repository, reached through the gate."""
    place = Place(vault.server.name, gate.endpoint, gate.ca)
    return Room(Vault(cast(Server, place), vault.bucket), "web1", gate.knows(identity), folder)
