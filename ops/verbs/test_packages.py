"""`python -m ops test-packages`: what the tests need from Debian besides the local stack's own needs. Says what it installs and sets."""

from __future__ import annotations

import typer
from rich.console import Console

from ops import packages
from sandbox.errors import SandboxError


def install_for_tests() -> None:
    """Install what the tests need from Debian and this machine lacks; services of it do not start."""
    try:
        packages.install_for_tests()
    except SandboxError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/] {error}")
        raise typer.Exit(1) from None
