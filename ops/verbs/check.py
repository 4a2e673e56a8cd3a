"""`lastcopy check`: format, lint, types, shellcheck and unit tests in parallel; all of them run, and all results are shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line.exit_codes import ExitCode
from ops.command_line.output import JsonOption, console, print_json
from toolchain.checkout import ROOT

# Programs for hosts have a dash in their names and no suffix.
SHELL_FILES = ("components/**/*.sh", "components/**/*-*", ".ci/run", "docs/ci/*.sh", ".github/*.sh")


_PERCENT = re.compile(r"\[ *([0-9]+)%\]$")


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


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """How one check ended, and all that it said."""

    passed: bool
    output: str
    seconds: float


def _run(name: str, command: list[str]) -> CheckResult:
    """Run one check to its end; of a long one, every tenth of it is told."""
    began, lines, told = time.monotonic(), [], 0
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            done = _PERCENT.search(line)
            if done and int(done[1]) // 10 > told:
                told = int(done[1]) // 10
                console.print(f"     {name}: {told * 10} %", style="dim")
    return CheckResult(
        passed=process.returncode == 0, output="".join(lines), seconds=time.monotonic() - began
    )


def check(
    unit: Annotated[bool, typer.Option(help="Whether to run the unit tests as well.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Run every check to its end. Exit status 1 if any failed."""
    commands, began = _commands(unit), time.monotonic()
    console.print(f"side by side: {', '.join(commands)}")
    results: dict[str, CheckResult] = {}
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        running = {pool.submit(_run, name, command): name for name, command in commands.items()}
        for ended in as_completed(running):
            name, result = running[ended], ended.result()
            results[name] = result
            state = "[green]ok[/]  " if result.passed else "[red]FAIL[/]"
            console.print(f"{state} {name}, {result.seconds:.1f} s")
            if not result.passed:
                console.print(result.output, markup=False, highlight=False)
    spent = os.times()
    cpu = spent.children_user + spent.children_system
    console.print(f"all checks: {time.monotonic() - began:.1f} s, {cpu:.1f} s of CPU")
    failed = [name for name in commands if not results[name].passed]
    if as_json:
        print_json({name: name not in failed for name in commands})
    if failed:
        console.print(f"[red]failed:[/] {', '.join(failed)}")
        raise typer.Exit(ExitCode.PROBLEMS_FOUND)
