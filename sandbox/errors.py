"""The sandbox's error, and its messages for people."""

from __future__ import annotations

import sys

from toolchain.errors import LastcopyError


class SandboxError(LastcopyError):
    """A verb of the sandbox refused or failed."""


def say(text: str) -> None:
    """Print progress for a person on stderr, so that stdout remains one line of JSON."""
    print(f"sandbox: {text}", file=sys.stderr, flush=True)
