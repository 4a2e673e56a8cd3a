"""`python -m ops check`: format, lint, types, shellcheck and unit tests, all run, all results shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer
from rich.console import Console

from ops.checkout import ROOT

SHELL_FILES = (
    "components/*/*.sh",
    "components/*/*-*",
    ".ci/run",
    "docs/ci/*.sh",
    ".github/*.sh",
)  # a program for hosts has a dash in its name and no suffix


def _commands(unit: bool) -> dict[str, list[str]]:
    python = [sys.executable, "-m"]
    shell = sorted(
        str(path.relative_to(ROOT))
        for pattern in SHELL_FILES
        for path in ROOT.glob(pattern)
        if path.is_file()
    )
    commands = {
        "format": [*python, "ruff", "format", "--check", "--quiet", "."],
        "lint": [*python, "ruff", "check", "--quiet", "."],
        "types": [
            *python,
            "mypy",
            "--strict",
            "__main__.py",
            "components",
            "ops",
            "attack_drill",
            "policy",
            "sandbox",
            "toolchain",
            "bench",
        ],
        "shellcheck": [str(Path(sys.executable).parent / "shellcheck"), "--severity=style", *shell],
    }
    return commands | ({"unit tests": [*python, "pytest", "-q", "-n", "2", "tests/unit"]} if unit else {})


def check(unit: bool = True) -> None:
    """Run every check to its end; exit 1 if any failed. ``--no-unit``: the caller runs the unit tests with all others."""
    console = Console()
    failed = []
    for name, command in _commands(unit).items():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        console.print(f"{'[green]ok[/]  ' if done.returncode == 0 else '[red]FAIL[/]'} {name}")
        if done.returncode != 0:
            failed.append(name)
            console.print(done.stdout + done.stderr, markup=False, highlight=False)
    if failed:
        console.print(f"[red]failed:[/] {', '.join(failed)}")
        raise typer.Exit(1)
