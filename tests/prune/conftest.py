"""One storage for all tests of the prune; each test gets a repository of its own, as in tests/recover."""

from __future__ import annotations

import pytest

from tests.prune.forger import with_a_cheap_key
from tests.recover.bed import Bed, Vault, make_master
from tests.recover.conftest import bed, vault

__all__ = ["bed", "grown", "master", "vault"]


@pytest.fixture(scope="package")
def master(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Bed:
    return with_a_cheap_key(make_master(vault, tmp_path_factory.mktemp("master") / "bed"))


@pytest.fixture
def grown(bed: Bed) -> Bed:
    """A third snapshot, so that the rules of these tests drop the first."""
    bed.back_up()
    return bed
