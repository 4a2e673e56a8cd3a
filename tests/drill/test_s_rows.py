"""Rows S: each holds on the running stack, and each is seen to break when what holds it is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.drill.model import Verdict
from tests.drill.conftest import Stage, told


@pytest.mark.parametrize("row", ["S4"])
def test_the_row_holds(stage: Stage, row: str) -> None:
    result = stage.play(row)
    assert result.verdict is Verdict.PROVEN, told(result)


@contextmanager
def changed(stage: Stage, machine: str, file: str, sed: str) -> Iterator[None]:
    """A file on a machine, weakened by a line of sed, which must change something; put back afterwards."""
    stage.machines.shell(
        machine, f"cp -a {file} /root/kept && sed -i -E '{sed}' {file} && ! cmp -s {file} /root/kept"
    )
    try:
        yield
    finally:
        stage.machines.shell(machine, f"cp -a /root/kept {file} && rm /root/kept")


SERVE = "/usr/local/lib/lastcopy/serve-restic"


def test_s4_sabotage_without_append_only_it_breaks(stage: Stage) -> None:
    """rclone lets DELETE through; the storage's policy and lock still hold the objects, and the answer already counts as broken."""
    with changed(stage, "relay", SERVE, "/^confined .*serve restic/s/--append-only//"):
        result = stage.play("S4")
    assert result.verdict is Verdict.BROKEN, told(result)
