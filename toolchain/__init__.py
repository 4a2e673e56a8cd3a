"""Finds, downloads or builds every tool that this project runs: pinned in versions.toml, verified, cached outside git."""

from pathlib import Path

from . import engine
from .cache import Tool
from .ensure import Toolchain
from .errors import ToolError

__all__ = ["Tool", "ToolError", "Toolchain", "engine_environment", "engine_for_shell", "ensure"]


def ensure(*names: str) -> dict[str, Tool]:
    """Return every named tool at an allowed version, and get it if necessary; all of them if none is named."""
    return Toolchain().ensure(*names)


def engine_environment(root: Path) -> dict[str, str]:
    """Return the whole environment in which `pulumi` runs for the local stack of the checkout at `root`, and create what it needs."""
    return engine.local_environment(Toolchain(), root)


def engine_for_shell(root: Path) -> dict[str, str]:
    """Return what the caller's environment lacks to run `pulumi` in the checkout at `root`: engine and plugins, no backend and no secret."""
    return engine.shell_additions(Toolchain(), root)
