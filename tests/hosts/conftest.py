"""Real sshds on loopback: a host, and a jump host that leads to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.hosts.connection import SshEndpoint, open_hosts
from tests.conformance.sshd import Sshd, make_key


@pytest.fixture(scope="package")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The admin's private key, which every server accepts."""
    path = tmp_path_factory.mktemp("key") / "admin"
    make_key(path)
    return path


@pytest.fixture(scope="package")
def new_sshd(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sshd]]:
    made: list[Sshd] = []

    def make(**options: str) -> Sshd:
        server = Sshd(
            tmp_path_factory.mktemp("sshd") / "it", [key.with_suffix(".pub").read_text()], **options
        )
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="package")
def target(new_sshd: Callable[..., Sshd]) -> Sshd:
    return new_sshd()


@pytest.fixture(scope="package")
def jump(new_sshd: Callable[..., Sshd]) -> Sshd:
    return new_sshd()


def endpoint(server: Sshd, key: Path | None, name: str = "web1") -> SshEndpoint:
    return SshEndpoint(
        name=name,
        address="127.0.0.1",
        port=server.port,
        user=server.user,
        host_key=server.host_key,
        key_file=key,
    )


@pytest.fixture
def behind(target: Sshd, jump: Sshd, key: Path) -> SshEndpoint:
    """The host, reached through the jump host."""
    return replace(endpoint(target, key), jump=endpoint(jump, key, "jump-web1"))


def dialled(endpoint: SshEndpoint) -> str:
    """The output of one command there, over a separate connection."""
    # A short path: it holds a socket of ssh.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, open_hosts([endpoint], Path(folder)) as opened:
        return opened[endpoint.name].run("echo", "here").out
