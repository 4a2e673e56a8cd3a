"""One storage for all recovery tests; each test gets its own repository."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.recover.bed import Bed, Vault, make_bed, make_master, vault_in

_NUMBERS = count(1)


@pytest.fixture(scope="package")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with vault_in(tmp_path_factory.mktemp("vault")) as made:
        yield made


@pytest.fixture(scope="package")
def master(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Bed:
    return make_master(vault, tmp_path_factory.mktemp("master") / "bed")


@pytest.fixture
def bed(master: Bed, tmp_path: Path) -> Bed:
    return make_bed(master, f"web{next(_NUMBERS)}", tmp_path / "bed")
