"""The programs that the toolchain provides: minio for the storage, rclone and restic inside the machines."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from sandbox.errors import SandboxError

TOOLS = {"relay": "rclone", "source": "restic"}  # the tool of a machine with that role


def tool(name: str) -> Path:
    """The path of a program. `LASTCOPY_TOOL_<NAME>` selects another one, for tests of other versions."""
    variable = f"LASTCOPY_TOOL_{name.upper()}"
    named = os.environ.get(variable)
    if named:
        path = Path(named)
        if not os.access(path, os.X_OK):
            raise SandboxError(f"{path} is not an executable", where=variable, fix=f"unset {variable}")
        return path
    import toolchain  # imported here, because pure parts and other verbs do not need it

    with contextlib.redirect_stdout(sys.stderr):  # our stdout is one line of JSON
        return Path(toolchain.ensure(name)[name].path)
