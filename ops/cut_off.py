"""`python -m ops cut-off` and `let-in`: one source out, or back, without asking its host (S10, S11)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from ops.recover.options import ConfigFileOption, SandboxStackOption, StackOption
from ops.stack import LocalStack, Stack, StackError, chosen

ROOT = Path(__file__).resolve().parent.parent
KEY = "lastcopy:sources"
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


def switch(source: str, stack: Stack, *, cut: bool, quiet: bool = False) -> None:
    """Write it into the stack file and bring it to the relay; done twice it is the same."""
    index, entry = _entry(source, stack)
    if bool(entry.get("cutOff", False)) is not cut:
        _must_be_in_the_file(stack)
        path = f"{KEY}[{index}].cutOff"
        words = ("set", *stack.configured, "--path", path, "true") if cut else ("rm", *stack.configured, "--path", path)  # fmt: skip
        stack.run("config", *words, quiet=True)
    if isinstance(stack, LocalStack):
        stack.forget_dead_runs()
    # Only what belongs to it on the relay: other changes of the stack file wait for a run that was meant for them.
    stack.up("--target", f"urn:pulumi:{stack.short_name}::**::{source}-enrolment-entry*", quiet=quiet)


def _entry(source: str, stack: Stack) -> tuple[int, Mapping[str, Any]]:
    """The source's place in the list of sources, and its settings."""
    sources = stack.config().get("sources")
    listed = sources if isinstance(sources, list) else []
    entries = [one if isinstance(one, Mapping) else {} for one in listed]
    names = [str(one.get("name")) for one in entries]
    if names.count(source) != 1:
        known = ", ".join(names) or "none: the stack has no lastcopy:sources"
        raise StackError(f"there is no source {source!a}\n  where:   --source\n  allowed: one of: {known}")
    index = names.index(source)
    return index, entries[index]


def _must_be_in_the_file(stack: Stack) -> None:
    """A list that comes from elsewhere (a Pulumi ESC environment) would be hidden by what the engine writes into the file."""
    try:
        content = yaml.safe_load(stack.file.read_text(encoding="utf-8")) if stack.file.exists() else {}
    except (OSError, yaml.YAMLError) as error:
        raise StackError(f"{stack.file} cannot be read: {type(error).__name__}") from None
    config = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping) or KEY not in config:
        raise StackError(
            f"the list of sources is not in {stack.file}, so it comes from an environment\n  where:   {KEY}\n"
            "  fix:     set or remove the source's `cutOff: true` there (`pulumi env edit`), then run this again: it brings it to the relay"
        )
