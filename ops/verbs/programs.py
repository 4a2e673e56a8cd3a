"""`lastcopy send-programs`, `remove-programs`: what runs on a host, to its store and away again. `pulumi up` runs both; see Programs."""

from __future__ import annotations

import json
import os
import sys

from ops.hosts import programs
from ops.hosts.dial import dial_host


def send_programs() -> None:
    """Send a host its programs; for `pulumi up`, which says on standard input where and which."""
    order = json.loads(sys.stdin.read())
    with dial_host(order, "programs") as host:
        mark = programs.send_programs(host, order["areas"], order["digest"])
    print(json.dumps({"mark": mark}))


def remove_programs() -> None:
    """Remove a host's programs; for `pulumi up`, which says on standard input where, and in its variable what the sending printed."""
    order = json.loads(sys.stdin.read())
    mark = json.loads(os.environ["PULUMI_COMMAND_STDOUT"])["mark"]
    with dial_host(order, "programs") as host:
        programs.remove_programs(host, mark)
