"""`lastcopy hand-over`: rclone or restic onto a host that fetches nothing itself, by SSH. `pulumi up` runs it; see HostTool."""

from __future__ import annotations

import json
import sys

from ops.hosts.dial import dial_host
from ops.hosts.hand_over import HandOverRequest, hand_over_tool


def hand_over() -> None:
    """Bring rclone or restic onto a host that fetches nothing itself; for `pulumi up`, which says on standard input what and where."""
    order = HandOverRequest.read(sys.stdin.read())
    with dial_host(order.dial, "hand-over") as host:
        facts = hand_over_tool(host, order.tool)
    print(json.dumps(facts))
