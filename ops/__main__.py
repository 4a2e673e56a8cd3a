"""`python -m ops`: runs `lastcopy` from a checkout that is not installed. It is the command's earlier name."""

from __future__ import annotations

from ops.command_line.app import app

__all__ = ["app"]

if __name__ == "__main__":
    app(prog_name="lastcopy")
