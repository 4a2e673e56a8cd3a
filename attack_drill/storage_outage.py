"""An outage of the storage, for all source accounts on the relay and also for connections that are already open."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from attack_drill.drill import Drill
from attack_drill.errors import DrillError
from ops.hosts.connection import ssh_environment

# The table is removed when stdin ends, so it does not outlive a killed drill.
HELD = r"""
set -eu
group=$(getent group lastcopy-sources | cut -d : -f 3)
trap 'nft delete table inet "$1"' EXIT
trap 'exit 1' HUP INT TERM
nft -f - <<END
table inet $1 {
  chain cut {
    type filter hook output priority filter - 10;
    meta skgid $group tcp dport $2 reject with tcp reset
  }
}
END
echo cut
timeout 120 cat >/dev/null
"""


def port(drill: Drill) -> int:
    """The storage's port."""
    parts = urlsplit(drill.where.endpoint)
    return parts.port or (80 if parts.scheme == "http" else 443)


@contextmanager
def cut_storage(drill: Drill) -> Iterator[None]:
    """Answer every packet of a source account's process to the storage with a TCP reset."""
    # A random name: the script deletes the table when it ends.
    table = f"lastcopy_drill_{secrets.token_hex(3)}"
    # The script is an argument, so that stdin belongs to the drill.
    held = subprocess.Popen(
        drill.relay.words("sh", "-c", HELD, "sh", table, str(port(drill))),
        env=ssh_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if not held.stdin or not held.stdout or not held.stderr:
        raise AssertionError("a pipe is missing")
    try:
        if held.stdout.readline().strip() != b"cut":
            held.stdin.close()
            raise DrillError(
                f"the storage could not be cut off: {held.stderr.read().decode(errors='replace').strip()[:200]}",
                where="nft, on the relay",
            )
        yield
    finally:
        held.stdin.close()
        try:
            held.wait(20)
        except subprocess.TimeoutExpired:
            held.kill()
            held.wait(5)
        drill.relay.shell(f"nft delete table inet {table} 2>/dev/null", check=False)
        held.stdout.close()
        held.stderr.close()
