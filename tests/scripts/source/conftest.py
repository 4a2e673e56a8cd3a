"""One machine for the whole test session, made new before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scripts.source.bed import Bed
from tests.scripts.source.machine import Machine


@pytest.fixture(scope="package")
def _machine() -> Iterator[Bed]:
    machine = Machine()
    try:
        yield Bed(machine)
    finally:
        machine.stop()


@pytest.fixture
def bare(_machine: Bed) -> Bed:
    """A host that was never enrolled."""
    _machine.reset()
    return _machine


@pytest.fixture
def bed(bare: Bed) -> Bed:
    """An enrolled source with a repository and a schedule."""
    bare.set_up()
    return bare
