"""VaultAlarms: somebody hears of it when the vault is touched, grows or falls silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True)
class VaultAlarmsArgs:
    """``rooms`` maps a source to the prefix of its snapshots (``web1/g1/snapshots/``). Exactly one of ``email``, ``topic`` (an ARN)."""

    bucket: str
    region: str
    account: str
    rooms: Mapping[str, str]
    email: str | None = None
    topic: str | None = None
    silent_hours: int = 26
    growth_gib_per_day: int = 100
    after: Sequence[pulumi.Resource] = ()
