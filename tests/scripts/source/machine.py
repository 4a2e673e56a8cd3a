"""A temporary Debian machine, source and relay in one: real systemd, sshd, rclone and restic."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.host.program_texts import script_text
from sandbox import launch
from sandbox.image import ensure_tree
from sandbox.run import child_with_pid_one, end_machine
from tests.waiting import wait_until
from toolchain import ensure

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_LOCK": "0",
}


_NUMBER = itertools.count()


@dataclass(frozen=True)
class Done:
    """The outcome of a command inside the machine."""

    code: int
    out: str
    err: str


class Machine:
    """Nothing it does has an effect outside: private network, all writes in memory, separate control groups. `stop` ends it by its process id."""

    def __init__(self, tree: Path | None = None, *options: str, seconds: float = 60) -> None:
        """``tree``: the system in it, by default the sandbox's own; ``options``: more words for systemd-nspawn;
        ``seconds``: how long its boot may take.
        """
        tools = ensure("rclone", "restic")
        self.name = f"lastcopy-source-{os.getpid()}-{next(_NUMBER)}"
        self._folder = tempfile.TemporaryDirectory()  # lives as long as the machine
        folder = Path(self._folder.name)
        self._log = folder / "log"
        words = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--volatile=overlay",
            "--private-network", "--console=pipe", "--resolv-conf=off", "--timezone=off",
            "--link-journal=no", f"--directory={tree or ensure_tree()}",
            f"--machine={self.name}", "--hostname=host1",
            f"--bind-ro={tools['rclone'].path.resolve()}:/opt/rclone",
            f"--bind-ro={tools['restic'].path.resolve()}:/opt/restic",
            "--bind=/dev/fuse",
            *options,
        ]  # fmt: skip
        # Two machines in one control group would end each other's services.
        self.nspawn = launch.start(
            None, self.name, 'exec "$@"', words, log=self._log, record=folder / "process.json", environment=ENVIRONMENT
        )  # fmt: skip
        try:
            self._leader = self._wait(seconds)
        except BaseException:
            self.stop()
            raise

    def _wait(self, seconds: float) -> int:
        def booted() -> bool:
            assert self.nspawn.alive(), self._log.read_text(errors="replace")
            leader = child_with_pid_one(self.nspawn.pid)
            if leader is None:
                return False
            self._leader = leader
            return self.run("systemctl is-system-running").out.strip() in ("running", "degraded")

        wait_until(
            booted, seconds, lambda: f"the machine did not boot: {self._log.read_text(errors='replace')}", 0.2
        )
        return self._leader

    def stop(self) -> None:
        end_machine(self.nspawn)
        launch.remove_cgroups(self.name)
        self._folder.cleanup()

    def run(self, command: str, *, stdin: str = "", seconds: int = 120) -> Done:
        """Run a shell line as root inside, with a time limit."""
        enter = [
            "nsenter",
            f"--target={self._leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
        ]
        done = subprocess.run(
            [*enter, "--", "env", "-i", f"PATH={ENVIRONMENT['PATH']}", "HOME=/root", "LC_ALL=C.UTF-8",
             "timeout", "-k", "5", str(seconds), "sh", "-c", f"cd / && {command}"],
            input=stdin.encode(), capture_output=True, check=False,
        )  # fmt: skip
        return Done(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def ok(self, command: str, *, stdin: str = "", seconds: int = 120) -> str:
        done = self.run(command, stdin=stdin, seconds=seconds)
        assert done.code == 0, f"{command!r} ended with {done.code}\n{done.out}\n{done.err}"
        return done.out

    def write(self, path: str, text: str, mode: str = "644") -> None:
        quoted = shlex.quote(path)
        self.ok(f"mkdir -p $(dirname {quoted}) && cat >{quoted} && chmod {mode} {quoted}", stdin=text)

    def read(self, path: str) -> str:
        return self.ok(f"cat {shlex.quote(path)}")

    def step(
        self, script: str, values: Mapping[str, str], mode: str = "apply", interpreter: str = "sh"
    ) -> Step:
        """What HostStep would do to this host."""
        done = self.run(f"{interpreter} -s -- {mode}", stdin=script_text(script, values), seconds=200)
        return Step.read(done)


@dataclass(frozen=True)
class Step:
    """How one script ended: exit code, and what it reported."""

    code: int
    changed: list[str]
    drift: list[str]
    facts: dict[str, str]
    err: str

    @classmethod
    def read(cls, done: Done) -> Step:
        """From the JSON line that a script prints last."""
        lines = done.out.strip().splitlines()
        said: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return cls(done.code, said.get("changed", []), said.get("drift", []), said.get("facts", {}), done.err)
