"""One minio behind all gates and one Ceph, each started when first needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.ceph import Ceph
from tests.ceph import ceph as start_ceph
from tests.enforced import servers
from tests.enforced.servers import Identity, Minio
from tests.enforced.vault import Vault

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with servers.minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="package")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with start_ceph(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(scope="module")
def vault(minio: Minio) -> Vault:
    """A new, empty bucket with Object Lock for each file."""
    made = Vault(minio, f"gated{next(_numbers)}")
    minio.make_bucket(made.bucket, "COMPLIANCE", 1)
    return made


@pytest.fixture(scope="module")
def web1(vault: Vault) -> Identity:
    """The identity of the source web1 in that bucket."""
    return vault.relay("web1")
