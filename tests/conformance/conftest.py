"""What this project needs from the engine and its plugins, whether official or stand-ins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import toolchain

from .sshd import Sshd, make_key
from .stack import Stack


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An engine home for the tests: nothing of the user or the checkout is touched."""
    return toolchain.engine_environment(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain` may come in without, `locked` with the passphrase `open sesame`."""
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder / "plain")
    make_key(folder / "locked", "open sesame")
    return folder


@pytest.fixture(scope="session")
def new_sshd(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sshd]]:
    """Creates servers, not yet started; they end with the session."""
    made: list[Sshd] = []
    authorized = [(keys / f"{name}.pub").read_text().strip() for name in ("plain", "locked")]

    def make(**options: str) -> Sshd:
        made.append(Sshd(tmp_path_factory.mktemp("sshd") / "it", authorized, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def sshd(new_sshd: Callable[..., Sshd]) -> Sshd:
    server = new_sshd()
    server.start()
    return server


@pytest.fixture(scope="session")
def blank(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack.new(tmp_path_factory.mktemp("blank") / "project", environ)


@pytest.fixture
def stack(
    blank: Stack,
    sshd: Sshd,
    keys: Path,
    environ: dict[str, str],
    tmp_path: Path,
    there: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Stack]:
    """A new stack. Its commands may write into `given["there"]`."""
    given = {
        "port": sshd.port,
        "user": sshd.user,
        "key": (keys / "plain").read_text(),
        "host_key": sshd.host_key,
        "there": str(there),
    }
    shutil.copytree(blank.folder, tmp_path / "project")
    made = Stack(tmp_path / "project", environ, given)
    yield made
    left = made.processes(patience=3)
    made.kill_leftovers()
    assert left == [], f"{request.node.name} left processes behind"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder
