"""Finds or gets every tool this project runs: pinned in versions.toml, verified, cached outside git."""

from pathlib import Path

from . import engine
from .cache import Tool
from .ensure import Toolchain
from .errors import ToolError

__all__ = ["Tool", "ToolError", "Toolchain", "engine_environment", "ensure"]


def ensure(*names: str) -> dict[str, Tool]:
    """Every named tool at a fitting version, got if need be; all of them when none is named."""
    return Toolchain().ensure(*names)


def engine_environment(root: Path) -> dict[str, str]:
    """The full environment in which `pulumi` runs for the checkout at `root`; makes what it needs."""
    return engine.environment(Toolchain(), root)
