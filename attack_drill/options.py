"""The options of one run of the attack drill."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Level(IntEnum):
    """The greatest harm that an attempt may do if it succeeds."""

    SAFE = 0  # none
    SCRATCH = 1  # to a repository that the drill made itself
    TRIAL = 2  # to the stack

    @property
    def words(self) -> str:
        """Why a row that needs this level was not played."""
        return {
            Level.SAFE: "safe on every stack",
            Level.SCRATCH: "needs a scratch repository (--scratch)",
            Level.TRIAL: "would harm the stack if it succeeded (--trial-stack)",
        }[self]


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    """The command's options as they were given.

    Args:
        stack: Its name; None for the one that is selected.
        source: The source whose root the attacker is; None for the first one that can be reached.
        sandbox: The local stack's folder, where the stack is a local one.
        storage_key: A file with the storage admin's key, ``-`` for standard input.
        level: The greatest harm that an attempt may do if it succeeds.
        ssh_key: A file with the admin's private key; None for the one that the stack's settings name.
        config_file: The stack file; None for the one that the engine uses.
    """

    stack: str | None
    source: str | None
    sandbox: Path | None
    storage_key: str | None
    level: Level
    ssh_key: Path | None = None
    config_file: Path | None = None
