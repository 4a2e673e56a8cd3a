"""What is known of one row of the threat model."""

from __future__ import annotations

from dataclasses import dataclass

PROVEN = "proven"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How far one row is proven. ``state``: `proven`, or `in part: ` and what is missing. ``tests`` and ``sabotage`` are pytest node ids."""

    state: str = PROVEN
    tests: tuple[str, ...]
    sabotage: tuple[str, ...]
