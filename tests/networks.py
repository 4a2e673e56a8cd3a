"""A free range for a test's own sandbox, and free ports, so that tests do not disturb one another or the user's stack.

The ranges are from 198.18.0.0/15, which RFC 2544 reserves for tests: some closed networks use documentation ranges for real addresses.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Each worker has its own range: two workers that look at the same moment would find the same one free.
RANGES = [f"198.18.{third}.0/24" for third in range(100 + 10 * WORKER, 110 + 10 * WORKER)]

_KEPT: list[socket.socket] = []


def free_port() -> int:
    """A port on loopback that belongs to this process until it ends.

    Its socket stays bound and never listens: connections are refused, nobody else gets the port, and a server that
    reuses addresses, as all servers of the tests do, can take it at any time.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _KEPT.append(kept)
    return int(kept.getsockname()[1])


def free_network() -> str:
    """The first range that no address and no route of this host uses."""
    said = subprocess.run(
        ["ip", "-j", "route", "show", "table", "all"], capture_output=True, text=True, check=True
    ).stdout
    used = []
    for route in json.loads(said):
        destination = route.get("dst", "default")
        if destination != "default" and ":" not in destination:
            used.append(ipaddress.ip_network(destination, strict=False))
    for candidate in map(ipaddress.ip_network, RANGES):
        if not any(candidate.overlaps(net) for net in used):
            return str(candidate)
    raise AssertionError(
        f"no free range for a test sandbox among {RANGES}; destroy a sandbox that is no longer needed"
    )
