"""SSH keys, and whether an sshd answers."""

from __future__ import annotations

import socket
from pathlib import Path

from sandbox.run import run


def greets(host: str, port: int) -> bool:
    """Whether an SSH server says its first line there."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def make_key(path: Path, comment: str) -> None:
    """A new ed25519 key pair without passphrase, unless it is there; never half of one."""
    public = path.with_name(path.name + ".pub")
    if path.exists() and public.exists():
        return
    fresh = path.with_name(f".{path.name}.new")
    for left in (fresh, fresh.with_name(fresh.name + ".pub")):
        left.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh))
    fresh.with_name(fresh.name + ".pub").replace(public)
    fresh.replace(path)
