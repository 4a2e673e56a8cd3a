"""Installs Debian packages with apt-get. Its output is long, so it is shown only if it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from sandbox.errors import SandboxError, say
from sandbox.run import CLEAN

TAIL = 30  # lines of apt-get's output that are shown


def install(packages: Sequence[str], *, purpose: str) -> None:
    """Install packages. Raises SandboxError with the command and the privilege that are needed."""
    line = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise SandboxError(
            f"this host has no apt-get; {purpose} needs {', '.join(packages)}",
            fix="install these with your system's package manager, or (for the local stack) install podman",
        )
    if os.geteuid() != 0:
        raise SandboxError(f"only root can install {', '.join(packages)}", fix=f"sudo {line}")
    say(f"{purpose}: {line}")
    environment = {**os.environ, **CLEAN, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "-q", "update"], ["apt-get", "-q", "-y", *line.split()[1:]]):
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
        if done.returncode != 0:
            for said in done.stdout.decode(errors="replace").splitlines()[-TAIL:]:
                say(said)
            raise SandboxError(
                f"`{' '.join(argv)}` failed with status {done.returncode}", fix="see above, run again"
            )
