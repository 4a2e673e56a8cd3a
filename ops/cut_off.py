"""Cut off one source, or let it in again, without contacting its host (S10, S11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ops.stack import LocalStack, Stack, StackError

KEY = "lastcopy:sources"


def set_cut_off(source: str, stack: Stack, *, cut: bool, quiet: bool = False) -> None:
    """Write the change into the stack file and apply it to the relay. Doing it twice changes nothing more.

    ``cut``: True cuts the source off, False lets it in again. Raises StackError.
    """
    index, entry = _entry(source, stack)
    if bool(entry.get("cutOff", False)) is not cut:
        _must_be_in_the_file(stack)
        path = f"{KEY}[{index}].cutOff"
        words = ("set", *stack.configured, "--path", path, "true") if cut else ("rm", *stack.configured, "--path", path)  # fmt: skip
        stack.run("config", *words, quiet=True)
    if isinstance(stack, LocalStack):
        stack.forget_dead_runs()
    # Update only this source's account on the relay: other pending changes of the stack file wait for an ordinary `pulumi up`.
    stack.up("--target", f"urn:pulumi:{stack.short_name}::**::{source}-enrolment-entry*", quiet=quiet)


def _entry(source: str, stack: Stack) -> tuple[int, Mapping[str, Any]]:
    """The source's index in the list of sources, and its settings."""
    sources = stack.config().get("sources")
    listed = sources if isinstance(sources, list) else []
    entries = [one if isinstance(one, Mapping) else {} for one in listed]
    names = [str(one.get("name")) for one in entries]
    if names.count(source) != 1:
        known = ", ".join(names) or "none: the stack has no lastcopy:sources"
        raise StackError(f"there is no source {source!a}", where="--source", allowed=f"one of: {known}")
    index = names.index(source)
    return index, entries[index]


def _must_be_in_the_file(stack: Stack) -> None:
    """Refuse a list that comes from elsewhere (a Pulumi ESC environment): the list that the engine writes into the file would hide it."""
    try:
        content = yaml.safe_load(stack.file.read_text(encoding="utf-8")) if stack.file.exists() else {}
    except (OSError, yaml.YAMLError) as error:
        raise StackError(f"{stack.file} cannot be read: {type(error).__name__}") from None
    config = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping) or KEY not in config:
        raise StackError(
            f"the list of sources is not in {stack.file}, so it comes from an environment",
            where=KEY,
            fix="set or remove the source's `cutOff: true` there (`pulumi env edit`), then run this again: it applies the change to the relay",
        )
