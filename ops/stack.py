"""Stack: one environment of this project, driven through the real engine's command line."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import toolchain


class StackError(RuntimeError):
    """The engine refused or failed; its own output was already shown."""


class Stack:
    """Runs `pulumi` for one stack of the checkout at ``root``, in a clean environment (no AWS_*, RCLONE_* or agent leftovers)."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.environment = toolchain.engine_environment(root)

    @property
    def file(self) -> Path:
        return self.root / "stacks" / f"Pulumi.{self.name}.yaml"

    def run(
        self, *words: str, quiet: bool = False, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`pulumi WORDS…`; its output streams through unless ``quiet``, then it is kept and shown only when it failed."""
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive", "--color", "never" if quiet else "auto"],
            cwd=self.root,
            env=self.environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=quiet,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            said = f"{done.stdout or ''}{done.stderr or ''}"
            raise StackError(
                f"pulumi {' '.join(words)} ended with exit status {done.returncode}\n{said}".rstrip()
            )
        return done

    def exists(self) -> bool:
        listed = json.loads(self.run("stack", "ls", "--json", quiet=True).stdout)
        return any(stack["name"].rsplit("/", 1)[-1] == self.name for stack in listed)

    def others(self) -> list[str]:
        """The other stacks of this checkout's own state folder; ones that were removed leave their history, which does not count."""
        state = self.root / ".local" / "state" / ".pulumi" / "stacks"
        return sorted(path.stem for path in state.glob("**/*.json") if path.stem != self.name)

    def create(self, template: Path) -> None:
        """Make the stack from a template of its settings; a stack or a settings file that exists is kept."""
        (self.root / ".local" / "state").mkdir(parents=True, exist_ok=True)
        if not self.file.exists():
            shutil.copyfile(template, self.file)
        if not self.exists():
            self.run("stack", "init", self.name, "--secrets-provider", "passphrase", quiet=True)

    def forget_dead_runs(self) -> None:
        """Release the state's lock where the run that took it is dead on this machine; a living one's stays."""
        locks = list((self.root / ".local" / "state" / ".pulumi" / "locks").glob(f"**/{self.name}/*.json"))
        holders = [json.loads(lock.read_text()) for lock in locks]
        here = socket.gethostname()
        if holders and all(h["hostname"] == here and not Path(f"/proc/{h['pid']}").exists() for h in holders):
            self.run("cancel", self.name, "--yes", quiet=True)

    def up(self) -> None:
        self.run("up", "--stack", self.name, "--yes", "--skip-preview", "--suppress-outputs")

    def destroy(self) -> None:
        self.run("destroy", "--stack", self.name, "--yes", "--skip-preview")

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        words = ["stack", "output", "--json", "--stack", self.name, *(["--show-secrets"] if secrets else [])]
        outputs: dict[str, Any] = json.loads(self.run(*words, quiet=True).stdout)
        return outputs
