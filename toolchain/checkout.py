"""The checkout that everything works on: one folder with the program, its stacks, its templates and its tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
