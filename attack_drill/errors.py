"""The attack drill's error."""

from __future__ import annotations

from ops.errors import LastcopyError


class DrillError(LastcopyError):
    """The drill cannot continue, or a host did not do what the drill needs. It proves nothing about a row."""
