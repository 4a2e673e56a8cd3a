"""`lastcopy hand-over`: sends rclone or restic by SSH to a host that downloads nothing itself. `pulumi up` runs it; see HostTool."""

from __future__ import annotations

import json
import sys

from ops.hosts.dial import dial_host
from ops.hosts.hand_over import HandOverRequest, hand_over_tool


def hand_over() -> None:
    """Send rclone or restic to a host that downloads nothing itself. `pulumi up` runs this with the request on standard input."""
    order = HandOverRequest.read(sys.stdin.read())
    with dial_host(order.dial, "hand-over") as host:
        facts = hand_over_tool(host, order.tool)
    print(json.dumps(facts))
