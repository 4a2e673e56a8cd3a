"""Finds, downloads or builds every tool that this project runs: pinned in versions.toml, verified, cached outside git.

The functions import what they need when they are called: that takes some 30 ms, and most callers that import this package never need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.errors import ToolError

if TYPE_CHECKING:
    from toolchain.cache import Tool

__all__ = ["ToolError", "engine_environment", "engine_for_shell", "ensure"]


def ensure(*names: str) -> dict[str, Tool]:
    """Return every named tool at an allowed version, and get it if necessary. Without names, return all tools."""
    from toolchain.toolchain import Toolchain

    return Toolchain().ensure(*names)


def engine_environment(root: Path) -> dict[str, str]:
    """Return the whole environment in which `pulumi` runs for the local stack of the checkout at `root`, and create what it needs."""
    from toolchain import engine
    from toolchain.toolchain import Toolchain

    return engine.local_environment(Toolchain(), root)


def engine_for_shell(root: Path) -> dict[str, str]:
    """Return the variables that the caller's environment lacks to run `pulumi` in the checkout at `root`: engine and plugins, no backend or secret."""
    from toolchain import engine
    from toolchain.toolchain import Toolchain

    return engine.shell_additions(Toolchain(), root)
