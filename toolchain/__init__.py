"""Finds or gets every tool this project runs: pinned in versions.toml, verified, cached outside git."""

from pathlib import Path

from . import engine
from .cache import Tool
from .ensure import Toolchain
from .errors import ToolError

__all__ = ["Tool", "ToolError", "Toolchain", "engine_environment", "engine_for_shell", "ensure"]


def ensure(*names: str) -> dict[str, Tool]:
    """Every named tool at a fitting version, got if need be; all of them when none is named."""
    return Toolchain().ensure(*names)


def engine_environment(root: Path) -> dict[str, str]:
    """The full environment in which `pulumi` runs for the local stack of the checkout at `root`; makes what it needs."""
    return engine.local_environment(Toolchain(), root)


def engine_for_shell(root: Path) -> dict[str, str]:
    """What the caller's environment lacks to run `pulumi` in the checkout at `root`: engine and plugins, no backend and no secret."""
    return engine.shell_additions(Toolchain(), root)
