"""A copy of the checkout with its own stack: the tests' real engine, state and sandbox do not touch the user's."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolchain
from attack_drill.proc_watch import ProcWatch
from ops.hosts.machines import Machines
from ops.stack import LocalStack
from tests.networks import free_network
from toolchain.checkout import ROOT


def copy_checkout(target: Path) -> None:
    """All files that git tracks or would track, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    _link_packages(target)


def archive_checkout(commit: str, target: Path) -> list[Path]:
    """The files of an earlier commit, as they were; fails where the clone has no such commit. The packages are today's."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        said = archive.stderr.decode(errors="replace").strip()
        pytest.fail(
            f"needs the code of commit {commit[:12]}, which this clone does not have: {said}\nfix: git fetch --unshallow"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(target, filter="data")
        names = [target / one.name for one in files if one.isfile()]
    _link_packages(target)
    return names


def _link_packages(target: Path) -> None:
    link = target / ".venv"
    link.unlink(missing_ok=True)
    link.symlink_to(sys.prefix)


def make_local_stack(
    root: Path, name: str, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> Running:
    """A copy of the checkout in `root` with a stack like the local one, in a network of its own. Nothing of it runs yet."""
    copy_checkout(root)
    return create_local_stack(root, name, change)


def create_local_stack(root: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Running:
    """The same, in a checkout that exists."""
    toolchain.ensure()
    stack = Running(root, name, free_network())
    template = yaml.safe_load((root / "stacks" / "templates" / "local.yaml").read_text())
    template["config"]["lastcopy:sandbox"] = {"network": stack.network}
    change(template["config"])
    source = root / f"{name}.yaml"
    source.write_text(yaml.safe_dump(template, sort_keys=False))
    stack.stack.create(source)
    return stack


@dataclass(frozen=True)
class Change:
    """One resource that a preview or an update would touch; ``inputs``: which of a resource's own would change."""

    op: str
    type: str
    name: str
    inputs: frozenset[str] = frozenset()


class Running:
    """One stack with its sandbox."""

    killed_output: str
    first_up: subprocess.CompletedProcess[str]
    watched: ProcWatch

    def __init__(self, root: Path, name: str, network: str) -> None:
        self.stack = LocalStack(root, name)
        self.root = root
        self.machines = Machines(root, root / ".local" / "sandbox" / name)
        self.network = network

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the stack file as an operator would edit it; the salt that the engine wrote is kept."""
        settings = yaml.safe_load(self.stack.file.read_text())
        change(settings["config"])
        self.stack.file.write_text(yaml.safe_dump(settings, sort_keys=False))

    def up(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.stack.run(
            "up", "--stack", self.stack.name, "--yes", "--skip-preview", *words, quiet=True, check=check
        )

    def preview(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.stack.run("preview", "--stack", self.stack.name, *words, quiet=True, check=check)

    def changes(self) -> set[Change]:
        """What the next `pulumi up` would touch."""
        steps = json.loads(self.preview("--json").stdout)["steps"]
        return {
            Change(
                step["op"],
                step["urn"].split("::")[2].rsplit("$", 1)[-1],
                step["urn"].rsplit("::", 1)[-1],
                frozenset(step.get("diffReasons") or ()),
            )
            for step in steps
            if step["op"] != "same"
        }

    def resources(self) -> dict[str, dict[str, Any]]:
        """What the state holds, by name."""
        state = json.loads(self.stack.run("stack", "export", "--stack", self.stack.name, quiet=True).stdout)
        return {one["urn"].rsplit("::", 1)[-1]: one for one in state["deployment"].get("resources", ())}

    def up_killed_when(self, seen: str, seconds: float = 120) -> str:
        """Start `pulumi up` and kill the engine, with no chance to clean up, as soon as its output shows ``seen``."""
        engine = subprocess.Popen(
            [
                "pulumi",
                "up",
                "--stack",
                self.stack.name,
                "--yes",
                "--skip-preview",
                "--non-interactive",
                "--color=never",
            ],
            cwd=self.root,
            env=self.stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert engine.stdout is not None
        shown, deadline = "", time.monotonic() + seconds
        for line in engine.stdout:
            shown += line
            if seen in line:
                engine.send_signal(signal.SIGKILL)
                break
            assert time.monotonic() < deadline, shown
        engine.wait(30)
        assert engine.returncode == -signal.SIGKILL, f"ended before {seen!r} was seen:\n{shown}"
        return shown

    def close(self) -> None:
        """Destroy what is left: with the engine if possible, with the sandbox in any case."""
        try:
            self.stack.run("cancel", self.stack.name, "--yes", quiet=True, check=False)
            if self.stack.exists():
                self.stack.destroy()
        finally:
            self.throw_away()

    def throw_away(self) -> None:
        """End machines and storage without the engine; its state is deleted with the checkout."""
        self.machines.sandbox("destroy")
