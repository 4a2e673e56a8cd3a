"""The last test of the session: destroy with the engine leaves nothing of the stack on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ops.hosts.machines import Machines
from sandbox.plan import sandbox_id
from tests.integration.checkout import Running


def traces(machines: Machines) -> dict[str, list[str]]:
    """Everything on this host that still has the sandbox's mark: its id is part of every name, its folder of every path."""
    mark, folder = sandbox_id(machines.directory), str(machines.directory)

    def marked(*command: str) -> list[str]:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [line for line in shown.splitlines() if mark in line]

    processes, mounts = [], set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # Machines may have a separate mount namespace, which only their processes see.
            mounts |= {line for line in (process / "mounts").read_text().splitlines() if folder in line}
        except OSError:
            continue  # it ended meanwhile
        if folder in text and process.name != str(os.getpid()):
            processes.append(text)
    return {
        "links": marked("ip", "-o", "link"),
        "rules": marked("nft", "list", "tables"),
        "namespaces": marked("ip", "netns", "list"),
        "mounts": sorted(mounts),
        "processes": processes,
        "files": [folder] if machines.directory.exists() else [],
    }


def test_destroy_leaves_nothing(running: Running) -> None:
    standing = traces(running.machines)
    assert all(standing[what] for what in ("links", "namespaces", "mounts", "processes", "files")), standing
    running.stack.destroy()
    assert not any(traces(running.machines).values()), traces(running.machines)
