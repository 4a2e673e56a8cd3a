"""The drill's error."""

from __future__ import annotations

from ops.errors import RecoverError


class DrillError(RecoverError):
    """The drill cannot go on, or a host did not do what the drill needs; nothing is proven by it."""
