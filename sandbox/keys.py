"""SSH keys, and whether an sshd answers."""

from __future__ import annotations

import socket
from pathlib import Path

from sandbox.run import run


def greets(host: str, port: int) -> bool:
    """Whether an SSH server answers with its first line."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def make_key(path: Path, comment: str) -> None:
    """Create an ed25519 key pair without a passphrase, unless it exists; never only half of it."""
    public = path.with_name(path.name + ".pub")
    if path.exists() and public.exists():
        return
    fresh = path.with_name(f".{path.name}.new")
    for left in (fresh, fresh.with_name(fresh.name + ".pub")):
        left.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh))
    fresh.with_name(fresh.name + ".pub").replace(public)
    fresh.replace(path)
