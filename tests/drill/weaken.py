"""Sabotages of a running stack, each put back afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.host import host_step
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


def scripts_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *edits: tuple[str, str, str]) -> None:
    """The program's steps with some of their scripts weakened (file, old text, new text), for as long as the test runs."""
    folder = tmp_path / "components"
    for script in host_step.COMPONENTS.glob("*/*.sh"):
        copy = folder / script.relative_to(host_step.COMPONENTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(script, copy)
    for file, old, new in edits:
        [script] = folder.glob(f"*/{file}")
        text = script.read_text()
        assert old in text, f"{file} has no {old!r}"
        script.write_text(text.replace(old, new))
    monkeypatch.setattr(host_step, "COMPONENTS", folder)
