"""The checkout that the commands work on: the project's program, its stacks and its templates."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
