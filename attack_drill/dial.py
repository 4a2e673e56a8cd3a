"""Connections of their own to a host, and folders of the drill's own on it; everything else of a drill shares one connection."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from ops.hosts.connection import Done, Host, ssh_environment

# Of a setting given twice ssh takes the first, so these go before the host's own.
ALONE = ("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ConnectTimeout=10")


def alone_words(host: Host, *options: str, command: tuple[str, ...] = ("true",)) -> list[str]:
    """The argument vector of a fresh dial: another log-in, whatever stands open already."""
    ssh, *rest = host.words(*command)
    return [ssh, *ALONE, *options, *rest]


def alone(
    host: Host, *options: str, command: tuple[str, ...] = ("true",), seconds: float = 25, stdin: str = ""
) -> Done:
    """A fresh dial, to its end; a refused one is an answer, not an error."""
    words = alone_words(host, *options, command=command)
    try:
        done = subprocess.run(
            words,
            env=ssh_environment(),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Done(code=124, out="", err="no answer in time")
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


# In memory and root's alone; and beside the tools, for programs that must be run (a host may mount /run without `exec`).
FOLDER = "/run/lastcopy-drill-"
PROGRAMS = "/usr/local/lib/lastcopy/drill-"


@contextmanager
def scratch(host: Host, place: str = FOLDER) -> Iterator[str]:
    """An empty folder of the drill's own on a host; a killed drill's is removed by the next one."""
    folder = f"{place}{secrets.token_hex(3)}"
    host.run("mkdir", "-m", "700", folder)
    try:
        yield folder
    finally:
        host.run("rm", "-rf", folder)
