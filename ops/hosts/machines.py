"""Machines of a sandbox, commanded as root from outside: not over SSH, so it also works when SSH is what is being tested."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ops.errors import LastcopyError


class MachineError(LastcopyError):
    """A command inside a machine ended with a status that the caller cannot use."""


@dataclass(frozen=True)
class Machines:
    """The machines of the sandbox in ``directory``, for the checkout at ``root``."""

    root: Path
    directory: Path

    def words(self, machine: str, *command: str) -> list[str]:
        """The argument vector that runs ``command`` inside, for callers that need their own pipes."""
        return [
            sys.executable,
            "-m",
            "sandbox",
            "exec",
            "--dir",
            str(self.directory),
            "--name",
            machine,
            "--",
            *command,
        ]

    def run(
        self, machine: str, *command: str, check: bool = True, stdin: str = "", seconds: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. With ``check``, a failure raises MachineError with all of its output."""
        done = subprocess.run(
            self.words(machine, *command),
            cwd=self.root,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",  # a forced command answers in binary
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}"
            raise MachineError(
                f"on {machine}: {' '.join(command)[:160]}\nexit status {done.returncode}\n{said}"
            )
        return done

    def shell(
        self, machine: str, script: str, *, check: bool = True, seconds: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell script inside."""
        return self.run(machine, "sh", "-c", script, check=check, seconds=seconds)

    def sandbox(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of `python -m sandbox` on this sandbox."""
        command = [sys.executable, "-m", "sandbox", words[0], "--dir", str(self.directory), *words[1:]]
        return subprocess.run(
            command, cwd=self.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
