"""The storage and repositories of the recovery tests, with a canary in every backup. Each test gets its own source."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.recover.bed import Vault
from tests.recover.conftest import vault as vault  # a fixture
from tests.restore_test.host import Host, make_host, make_master_host

_NUMBERS = count(1)


@pytest.fixture(scope="package")
def master_host(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return make_master_host(vault, tmp_path_factory.mktemp("master") / "bed")


@pytest.fixture
def host(master_host: Host, tmp_path: Path) -> Host:
    return make_host(master_host, f"tested{next(_NUMBERS)}", tmp_path / "bed")


@pytest.fixture
def other_host(master_host: Host, tmp_path: Path) -> Host:
    return make_host(master_host, f"tested{next(_NUMBERS)}", tmp_path / "other")
