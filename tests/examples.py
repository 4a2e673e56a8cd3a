"""How many examples a property test tries: by default as many as the profile says (tests/conftest.py)."""

from __future__ import annotations

from hypothesis import settings

# For tests that start a process or a container for every example.
few = settings(max_examples=settings().max_examples // 3)
