"""`python -m ops cut-off` and `let-in`: one source out, or back, without asking its host (S10, S11)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from ops.stack import Stack, StackError

ROOT = Path(__file__).resolve().parent.parent
console = Console(highlight=False)

SourceOption = Annotated[str, typer.Option("--source", help="The source's name.")]
StackOption = Annotated[str, typer.Option("--stack", help="The stack.")]


def cut_off(source: SourceOption, stack: StackOption) -> None:
    """Its key opens nothing any more and its sessions end; other sources and its own host are not touched. Nothing stored is lost."""
    _change(source, Stack(ROOT, stack), cut=True)


def let_in(source: SourceOption, stack: StackOption) -> None:
    """Undo a cut-off: its key opens again what it did, from where it did."""
    _change(source, Stack(ROOT, stack), cut=False)


def _change(source: str, stack: Stack, *, cut: bool) -> None:
    began = time.monotonic()
    try:
        switch(source, stack, cut=cut)
    except StackError as error:
        console.print("error:", style="red", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        console.print("fix what it names and run it again: it does what is left")
        raise typer.Exit(1) from None
    seconds = time.monotonic() - began
    other = "let-in" if cut else "cut-off"
    said = "is cut off: its key opens nothing, its sessions have ended" if cut else "is let in again"
    console.print(
        f"{source} {said} ({seconds:.0f} s); the way back: python -m ops {other} --source {source} --stack {stack.name}",
        markup=False,
        soft_wrap=True,
    )


def switch(source: str, stack: Stack, *, cut: bool, quiet: bool = False) -> None:
    """Write it into the stack file and bring it to the relay; done twice it is the same."""
    key = f"lastcopy:sources[{_index(source, stack)}].cutOff"
    if cut:
        stack.run("config", "set", "--stack", stack.name, "--path", key, "true", quiet=True)
    else:
        stack.run("config", "rm", "--stack", stack.name, "--path", key, quiet=True)
    stack.forget_dead_runs()
    # Only what belongs to it on the relay: other changes of the stack file wait for a run that was meant for them.
    stack.run(
        "up", "--stack", stack.name, "--yes", "--skip-preview", "--suppress-outputs",
        "--target", f"urn:pulumi:{stack.name}::**::{source}-enrolment-entry*", quiet=quiet,
    )  # fmt: skip


def _index(source: str, stack: Stack) -> int:
    """Where the source stands in the stack file; names are plain there, whatever else is secret."""
    try:
        config = yaml.safe_load(stack.file.read_text(encoding="utf-8")).get("config", {})
        names = [entry.get("name") for entry in config["lastcopy:sources"]]
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise StackError(
            f"the sources cannot be read in {stack.file}\n  allowed: lastcopy:sources, a list with a name each"
        ) from None
    if names.count(source) != 1:
        known = ", ".join(str(name) for name in names)
        raise StackError(f"there is no source {source!a}\n  where:   --source\n  allowed: one of: {known}")
    return names.index(source)
