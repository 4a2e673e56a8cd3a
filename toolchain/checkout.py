"""The checkout that everything works on: the project's program, its stacks, its templates and its tests lie below one folder."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
