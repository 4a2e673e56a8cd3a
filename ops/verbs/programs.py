"""`lastcopy send-programs`, `remove-programs`: send a host's programs to its store, and remove them. `pulumi up` runs both; see Programs."""

from __future__ import annotations

import json
import os
import sys

from ops.hosts import programs
from ops.hosts.dial import dial_host


def send_programs() -> None:
    """Send a host its programs. `pulumi up` runs this with the request on standard input."""
    order = json.loads(sys.stdin.read())
    with dial_host(order, "programs") as host:
        mark = programs.send_programs(host, order["areas"], order["digest"])
    print(json.dumps({"mark": mark}))


def remove_programs() -> None:
    """Remove a host's programs. `pulumi up` runs this with the host on standard input and the output of send-programs in its variable."""
    order = json.loads(sys.stdin.read())
    mark = json.loads(os.environ["PULUMI_COMMAND_STDOUT"])["mark"]
    with dial_host(order, "programs") as host:
        programs.remove_programs(host, mark)
