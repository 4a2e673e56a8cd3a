"""The sandbox's error, and its words for people."""

from __future__ import annotations

import sys

from toolchain.errors import LastcopyError


class SandboxError(LastcopyError):
    """A verb of the sandbox refused or failed."""


def say(text: str) -> None:
    """Progress for a person: stderr only, so that stdout stays one line of JSON."""
    print(f"sandbox: {text}", file=sys.stderr, flush=True)
