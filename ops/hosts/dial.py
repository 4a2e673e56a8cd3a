"""Hosts as `pulumi up` tells of them: one line of JSON on standard input, for a private key is in it.

Keys: name, address, port, user, hostKey, privateKey (null: the SSH agent has it), jump (null, or the same of a jump host).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.hosts.connection import SshEndpoint, SshHost, open_hosts
from ops.private_folder import private_folder

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it, for the key


@contextmanager
def dial_host(dial: dict[str, Any], purpose: str) -> Iterator[SshHost]:
    """The host, until the end of the block. ``purpose``: a word for the name of the private folder that the key is in."""
    # The key is in memory where there is a place for that.
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with private_folder(purpose, place) as folder, open_hosts([endpoint(dial, folder)], folder) as opened:
        yield opened[dial["name"]]


def endpoint(dial: dict[str, Any], folder: Path, name: str | None = None) -> SshEndpoint:
    """Where and how the host is dialled; its key goes to a file in ``folder``."""
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
