"""Boots a separate systemd on this machine's own files: units run with the programs and paths of this machine, and write to memory only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import launch
from sandbox.nspawn import ENVIRONMENT
from sandbox.run import Process, child_with_pid_one, end_machine
from tests.waiting import wait_until
from toolchain.cache import cache_root
from toolchain.checkout import ROOT

# The distribution's own timers, such as apt-daily, must not run during a test.
BOOT = """\
units=$1 name=$2
shift 2
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
rm -rf /mnt/root/etc/systemd/system/*.wants
rm -f /mnt/root/usr/lib/tmpfiles.d/tmp.conf # it would empty /tmp, which holds pytest's folders
cp -r "$units"/. /mnt/root/etc/systemd/system/
exec systemd-nspawn --register=no --keep-unit --boot --directory=/mnt/root --machine="$name" --console=pipe \\
  --resolv-conf=off --timezone=off --link-journal=no "$@" systemd.unit=basic.target
"""
NAME = "lastcopy-booted"


@dataclass(frozen=True)
class Booted:
    """A running systemd, in which commands run as root."""

    process: Process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        leader = child_with_pid_one(self.process.pid)
        assert leader is not None, "systemd ended"
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]
        return subprocess.run(
            [*enter, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def read(self, path: str) -> str:
        """The file's text, or "" if it does not exist yet."""
        return self.run("cat", path).stdout

    def wait(self, true: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
        def so() -> bool:
            assert self.process.alive(), "systemd ended"
            return true()

        wait_until(so, seconds, otherwise)


def _elsewhere(*places: Path) -> list[str]:
    """Bind options for places on other file systems, which an overlay over / does not show."""
    root = Path("/").stat().st_dev
    return [f"--bind={place}" for place in places if place.stat().st_dev != root]


@contextmanager
def booted(units: Path, folder: Path) -> Iterator[Booted]:
    """Boot with the files of ``units`` in /etc/systemd/system. Afterwards every process has ended and nothing written is left."""
    log, record = folder / "boot.log", folder / "process.json"
    no_tmpfs = {"SYSTEMD_NSPAWN_TMPFS_TMP": "0"}
    places = (ROOT, Path(sys.prefix), Path(sys.base_prefix), cache_root(os.environ), folder)
    process = launch.start(
        None,
        NAME,
        BOOT,
        [str(units), NAME, *_elsewhere(*places)],
        log=log,
        record=record,
        environment={**ENVIRONMENT, **no_tmpfs},
    )
    there = Booted(process)
    try:
        up = ("running", "degraded", "starting")
        there.wait(
            lambda: (
                child_with_pid_one(process.pid) is not None
                and there.run("systemctl", "is-system-running").stdout.strip() in up
            ),
            60,
            lambda: log.read_text(errors="replace"),
        )
        yield there
    finally:
        end_machine(process)
        launch.remove_cgroups(NAME)
