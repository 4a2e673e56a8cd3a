"""One account for all AWS tests; one reader of the documents, and one whole stack for those that need machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import toolchain
from tests.aws.program import Program, engine
from tests.aws.reader import Reader, following
from tests.aws.stack import AwsStack, Ground
from tests.aws.world import Moto


@pytest.fixture(scope="package")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """moto, all of whose parts are loaded while the others start."""
    server = Moto(tmp_path_factory.mktemp("moto"))
    try:
        server.warm()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Machines and storage, which boot while the documents' first chapters are followed."""
    toolchain.ensure()
    made = Ground(tmp_path_factory.mktemp("ground"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="package")
def reader(account: Moto, ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:  # noqa: ARG001
    """A shell in which docs/aws.md was followed up to its preview, and its short form."""
    account.wait()
    with following(account, tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("shell")) as made:
        yield made


@pytest.fixture(scope="package")
def aws(account: Moto, ground: Ground, reader: Reader) -> AwsStack:
    """The whole stack from nothing but an account and two source hosts, by the trial's own commands."""
    stack = AwsStack(account, ground, reader)
    stack.create()
    return stack


@pytest.fixture(scope="package")
def environ(account: Moto, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For programs of the tests' own, which use the components without a relay: the real provider's engine home where there is one."""
    account.wait()
    return engine(account, tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="package")
def blank(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program.new(tmp_path_factory.mktemp("blank") / "project", environ)


@pytest.fixture
def program(blank: Program, tmp_path: Path) -> Program:
    """A small stack of its own."""
    return blank.copy(tmp_path / "project")
