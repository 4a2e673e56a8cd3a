"""Two servers for all of these tests, each started when first needed; each vault has its own bucket."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.enforced import servers
from tests.enforced.servers import Minio, Server, Versity
from tests.enforced.vault import Vault

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versity]:
    with servers.versity(tmp_path_factory.mktemp("versity")) as server:
        yield server


@pytest.fixture(scope="package")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with servers.minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="package", params=["versity", "minio"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the two."""
    found: Server = request.getfixturevalue(request.param)
    return found


Make = Callable[..., Vault]


@pytest.fixture
def vault() -> Make:
    """`vault(server)`: a new locked bucket, with objects below the prefixes of web1 and db1."""
    return lambda server, **options: Vault.make(server, f"vault{next(_numbers)}", **options)


@pytest.fixture
def empty() -> Make:
    """`empty(server, mode)`: the same without objects."""

    def make(server: Server, mode: str = "COMPLIANCE") -> Vault:
        made = Vault(server, f"vault{next(_numbers)}")
        server.make_bucket(made.bucket, mode, 1)
        return made

    return make
