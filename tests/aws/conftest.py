"""One account for all AWS tests, one reader of the docs, and one whole stack for tests that need machines."""

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
    """moto, with all its parts loading while other fixtures start."""
    server = Moto(tmp_path_factory.mktemp("moto"))
    try:
        server.warm()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Machines and storage, which boot while the first chapters of the docs are followed."""
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
    """The whole stack, made from an empty account and two source hosts by the commands of the trial."""
    stack = AwsStack(account, ground, reader)
    stack.create()
    return stack


@pytest.fixture(scope="package")
def environ(account: Moto, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment for the tests' own programs, which use the components without a relay, with the real provider if it is installed."""
    account.wait()
    return engine(account, tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="package")
def blank(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program.new(tmp_path_factory.mktemp("blank") / "project", environ)


@pytest.fixture
def program(blank: Program, tmp_path: Path) -> Program:
    """A stack for one small program."""
    return blank.copy(tmp_path / "project")
