"""Debian's packages, installed by their own tool. What it says is a page of words, so it is shown only when it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from sandbox.errors import SandboxError, say
from sandbox.run import CLEAN

TAIL = 30  # lines of apt-get's own words that tell what went wrong


def install(packages: Sequence[str], *, purpose: str) -> None:
    """The packages are installed, or an error says with which command and privilege they can be."""
    line = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise SandboxError(
            f"this host has no apt-get; {purpose} needs {', '.join(packages)}",
            fix="install these with your system's own means, or (for the local stack) install podman or docker",
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
