"""`python -m ops cut-off` and `let-in`: one source out, or back, without asking its host (S10, S11)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.checkout import ROOT
from ops.cut_off import switch
from ops.stack import StackError, chosen
from ops.verbs.options import ConfigFileOption, SandboxStackOption, StackOption

console = Console(highlight=False)

SourceOption = Annotated[str, typer.Option("--source", help="The source's name.")]


def cut_off(
    source: SourceOption,
    stack: StackOption = None,
    config_file: ConfigFileOption = None,
    sandbox: SandboxStackOption = None,
) -> None:
    """Its key opens nothing any more and its sessions end; other sources and its own host are not touched. Nothing stored is lost."""
    _change(source, stack, config_file, sandbox, cut=True)


def let_in(
    source: SourceOption,
    stack: StackOption = None,
    config_file: ConfigFileOption = None,
    sandbox: SandboxStackOption = None,
) -> None:
    """Undo a cut-off: its key opens again what it did, from where it did."""
    _change(source, stack, config_file, sandbox, cut=False)


def _change(
    source: str, name: str | None, config_file: Path | None, sandbox: Path | None, *, cut: bool
) -> None:
    began = time.monotonic()
    try:
        stack = chosen(ROOT, name, sandbox=sandbox, config_file=config_file)
        switch(source, stack, cut=cut)
    except StackError as error:
        console.print("error:", style="red", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        console.print("fix what it names and run it again: it does what is left")
        raise typer.Exit(1) from None
    seconds = time.monotonic() - began
    other = "let-in" if cut else "cut-off"
    said = "is cut off: its key opens nothing, its sessions have ended" if cut else "is let in again"
    words = ["--source", source, *stack.configured, *(["--sandbox", str(sandbox)] if sandbox else [])]
    console.print(
        f"{source} {said} ({seconds:.0f} s); the way back: python -m ops {other} {' '.join(words)}",
        markup=False,
        soft_wrap=True,
    )
