"""The stage: one running local stack and a drill's ground on it, for every row and every row's sabotage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

import toolchain
from attack_drill.ground import Asked, Ground, ground
from attack_drill.model import Finding, Level, Outcome, Result
from attack_drill.rows import PLAYS
from attack_drill.runner import play_row
from attack_drill.threats import THREATS
from ops.hosts.machines import Machines
from tests.integration.checkout import Running, copy_checkout
from tests.networks import free_network


@dataclass
class Stage:
    """``machines``: past SSH, for what sabotages a host. ``play``: one row on the ground, as `ops drill` plays it."""

    running: Running
    ground: Ground

    @property
    def machines(self) -> Machines:
        return self.running.machines

    def play(self, row: str) -> Result:
        threat = next(threat for threat in THREATS if threat.id == row)
        return play_row(self.ground, threat, PLAYS[row], lambda _: None)


def told(result: Result) -> str:
    """What an assertion shows: all that did not hold."""
    rest = [one for one in result.findings if one.outcome not in (Outcome.HELD, Outcome.CONTROL)]
    return f"{result.threat.id} {result.verdict.value}\n" + "\n".join(map(_line, rest))


def _line(one: Finding) -> str:
    return f"  {one.outcome.value}: {one.tried}: {one.seen}"


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("checkout")
    toolchain.ensure()
    copy_checkout(root)
    running = Running(root, "drilled", free_network())
    template = yaml.safe_load((root / "stacks" / "templates" / "local.yaml").read_text())
    template["config"]["lastcopy:sandbox"] = {"network": running.network}
    source = root / "drilled.yaml"
    source.write_text(yaml.safe_dump(template, sort_keys=False))
    running.stack.create(source)
    try:
        running.first_up = running.up()
        for name in ("web1", "db1"):
            running.machines.shell(
                name, "mkdir -p /srv && date >/srv/stamp && systemctl start lastcopy-backup.service"
            )
        asked = Asked(
            stack="drilled",
            source="web1",
            sandbox=running.machines.directory,
            storage_key=None,
            level=Level.TRIAL,
        )
        with ground(asked, running.stack, lambda _: None) as made:
            yield Stage(running, made)
    finally:
        running.close()
