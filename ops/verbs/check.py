"""`lastcopy check`: format, lint, types, shellcheck and unit tests in parallel; all of them run, and all results are shown."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line.exit_codes import ExitCode
from ops.command_line.output import JsonOption, console, print_json
from toolchain.checkout import ROOT

SHELL_FILES = (
    "components/**/*.sh",
    "components/**/*-*",
    ".ci/run",
    "docs/ci/*.sh",
    ".github/*.sh",
)  # programs for hosts have a dash in their names and no suffix


def _commands(unit: bool) -> dict[str, list[str]]:
    python = [sys.executable, "-m"]
    shell = sorted(
        str(path.relative_to(ROOT))
        for pattern in SHELL_FILES
        for path in ROOT.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
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


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def check(
    unit: Annotated[bool, typer.Option(help="Whether to run the unit tests as well.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Run every check to its end. Exit status 1 if any failed."""
    commands = _commands(unit)
    failed = []
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        for name, done in zip(commands, pool.map(_run, commands.values()), strict=True):
            console.print(f"{'[green]ok[/]  ' if done.returncode == 0 else '[red]FAIL[/]'} {name}")
            if done.returncode != 0:
                failed.append(name)
                console.print(done.stdout + done.stderr, markup=False, highlight=False)
    if as_json:
        print_json({name: name not in failed for name in commands})
    if failed:
        console.print(f"[red]failed:[/] {', '.join(failed)}")
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)
