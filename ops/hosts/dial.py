"""Hosts as `pulumi up` describes them: one line of JSON on standard input, because it contains a private key.

Keys: name, address, port, user, hostKey, privateKey (null: the SSH agent holds it), jump (null, or the same keys for a jump host).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.hosts.connection import SshEndpoint, SshHost, open_hosts
from ops.private_folder import private_folder

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it, for the key


@contextmanager
def dial_host(dial: dict[str, Any], purpose: str) -> Iterator[SshHost]:
    """Connect to the host until the end of the block. ``purpose``: a word for the name of the private folder that holds the key."""
    # Keep the key in memory if possible.
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with private_folder(purpose, place) as folder, open_hosts([endpoint(dial, folder)], folder) as opened:
        yield opened[dial["name"]]


def endpoint(dial: dict[str, Any], folder: Path, name: str | None = None) -> SshEndpoint:
    """Where and how to reach the host. Its key is written to a file in ``folder``."""
    jump = dial.get("jump")
    name = name or str(dial["name"])
    return SshEndpoint(
        name=name,
        address=dial["address"],
        port=int(dial["port"]),
        user=dial["user"],
        host_key=dial["hostKey"],
        key_file=_key_file(dial["privateKey"], folder / f"key-{name}"),
        jump=None if jump is None else endpoint(jump, folder, f"{name}-jump"),
    )


def _key_file(key: str | None, path: Path) -> Path | None:
    if key is None:
        return None
    path.touch(0o600)
    path.write_text(key if key.endswith("\n") else f"{key}\n")
    return path
