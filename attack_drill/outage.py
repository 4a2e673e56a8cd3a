"""Outage: the relay's sources lose their storage for a moment, also where connections stand."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from attack_drill.errors import DrillError
from attack_drill.ground import Ground
from ops.hosts.connection import ssh_environment

# A table of its own beside the firewall's. It goes when stdin ends, so it does not outlive a killed drill.
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


def port(ground: Ground) -> int:
    """Of the storage."""
    parts = urlsplit(ground.where.endpoint)
    return parts.port or (80 if parts.scheme == "http" else 443)


@contextmanager
def storage_cut(ground: Ground) -> Iterator[None]:
    """Within, every packet of a source's process to the storage is answered with a reset."""
    # Never the name of a table that somebody else made.
    table = f"lastcopy_drill_{secrets.token_hex(3)}"
    # `sh -c` takes the script as an argument, so stdin stays the drill's.
    held = subprocess.Popen(
        ground.relay.words("sh", "-c", HELD, "sh", table, str(port(ground))),
        env=ssh_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if not held.stdin or not held.stdout or not held.stderr:
        raise AssertionError("three pipes were asked for")
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
        ground.relay.shell(f"nft delete table inet {table} 2>/dev/null", check=False)
        held.stdout.close()
        held.stderr.close()
