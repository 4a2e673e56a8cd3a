"""One account for all AWS tests; one whole stack in it for those that need machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import toolchain
from tests.aws.program import Program, engine
from tests.aws.stack import AwsStack
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
def aws(account: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStack]:
    """The whole stack from nothing but an account and two source hosts, by one `pulumi up`."""
    toolchain.ensure()
    stack = AwsStack(account, tmp_path_factory.mktemp("aws"))
    try:
        stack.prepare()
        account.wait()
        stack.create()
        stack.first_up = stack.running.up()
        yield stack
    finally:
        stack.close()


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
