"""`lastcopy hand-over`: rclone or restic onto a host that fetches nothing itself, by SSH. `pulumi up` runs it; see HostTool."""

from __future__ import annotations

import json
import sys

import toolchain
from ops.errors import LastcopyError
from ops.hosts.connection import hosts
from ops.hosts.hand_over import SHARED_MEMORY, Order, bring, dialled
from ops.private_folder import private_folder


def hand_over() -> None:
    """Bring rclone or restic onto a host that fetches nothing itself; for `pulumi up`, which says on standard input what and where."""
    order = Order.read(sys.stdin.read())
    try:
        # The key is in memory where there is a place for that.
        place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        with (
            private_folder("hand-over", place) as folder,
            hosts([dialled(order.dial, folder)], folder) as opened,
        ):
            facts = bring(opened[order.dial["name"]], order.tool)
    except toolchain.ToolError as error:
        raise LastcopyError(str(error)) from None
    print(json.dumps(facts))
