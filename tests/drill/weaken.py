"""Sabotages of a running stack, each put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components import host_step
from tests.drill.conftest import Stage


@contextmanager
def done_to(stage: Stage, machine: str, weaken: str, back: str) -> Iterator[None]:
    """A line of shell on a machine, past SSH; and the one that undoes it."""
    try:
        stage.machines.shell(machine, weaken)
        yield
    finally:
        stage.machines.shell(machine, back)


@contextmanager
def edited(stage: Stage, machine: str, file: str, sed: str) -> Iterator[None]:
    """A file on a machine, changed by a line of sed, which must change something."""
    weaken = f"cp -a {file} /root/kept && sed -i -E '{sed}' {file} && ! cmp -s {file} /root/kept"
    with done_to(stage, machine, weaken, f"cp -a /root/kept {file} && rm /root/kept"):
        yield


def scripts_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str) -> None:
    """The program's steps with one of their scripts weakened, for as long as the test runs."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for script in host_step.SCRIPTS.glob("*.sh"):
        text = script.read_text()
        if script.name == file:
            assert old in text, f"{file} has no {old!r}"
            text = text.replace(old, new)
        (folder / script.name).write_text(text)
    monkeypatch.setattr(host_step, "SCRIPTS", folder)
