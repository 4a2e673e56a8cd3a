"""The sandbox's error: what is wrong, where, and what fixes it. It never contains a secret."""

from __future__ import annotations

import sys


class SandboxError(Exception):
    """A verb refused or failed; `fix` is a command or a step that a person can take."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


def say(text: str) -> None:
    """Progress for a person: stderr only, so that stdout stays one line of JSON."""
    print(f"sandbox: {text}", file=sys.stderr, flush=True)
