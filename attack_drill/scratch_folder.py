"""The drill's own folders on a host."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ops.hosts.connection import SshHost

IN_MEMORY = "/run/lastcopy-drill-"
# For programs that must be executed: a host may mount /run without `exec`.
EXECUTABLE = "/usr/local/lib/lastcopy/drill-"


def new_folder_name(prefix: str = IN_MEMORY) -> str:
    """A name that nobody can guess, in the form that `remove_leftovers` looks for."""
    return f"{prefix}{secrets.token_hex(3)}"


@contextmanager
def scratch_folder(host: SshHost, prefix: str = IN_MEMORY) -> Iterator[str]:
    """Make an empty folder that only root can read, and remove it afterwards.

    Args:
        host: Where it is made.
        prefix: `IN_MEMORY` or `EXECUTABLE`.
    """
    folder = new_folder_name(prefix)
    host.run("mkdir", "-m", "700", folder)
    try:
        yield folder
    finally:
        host.run("rm", "-rf", folder)
