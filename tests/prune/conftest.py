"""One storage for all prune tests; each test gets its own repository, as in tests/recover."""

from __future__ import annotations

import pytest

from tests.recover.bed import Bed
from tests.recover.conftest import bed, master, vault

__all__ = ["bed", "grown", "master", "vault"]


@pytest.fixture
def grown(bed: Bed) -> Bed:
    """A third snapshot, so that the rules of these tests drop the first."""
    bed.back_up()
    return bed
