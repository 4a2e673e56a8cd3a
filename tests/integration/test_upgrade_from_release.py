"""A stack made by an earlier version is upgraded as docs/versions.md says: `pulumi preview` shows what the changelog names, and `pulumi up` does it.

The earlier version is that version's own code, from git. `make test` checks the same promise with today's code without stores: test_upgrade.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.checkout import (
    Change,
    Running,
    archive_checkout,
    copy_checkout,
    create_local_stack,
)
from tests.sabotage import weaken
from tests.unit.recording import SAMPLE_KEY

pytestmark = pytest.mark.nightly

# The last commit whose steps contained their whole text. No release is tagged yet; later, the newest tag belongs here.
EARLIER = "cf32604022adabd1b5d8dc5fb8a4de684ccbcf53"
STEP, COMMAND, HAND_OVER = "lastcopy:host:HostStep", "command:remote:Command", "web1-restic-hand-over"
SENT = {
    "stdin",
    "connection",
}  # what a step is told, and the key that dials: an update runs it again, in place
NEW = {"programs", "relay-programs", "web1-programs"}  # what CHANGELOG.md says about the upgrade


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    """``resources`` and ``outputs`` are those of the earlier version, ``snapshot`` is one that it made."""

    running: Running
    resources: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Any]
    snapshot: str


def backed_up(running: Running, content: str) -> str:
    """The id of a snapshot that contains ``content``, made by the timer's own service."""
    script = f"mkdir -p /srv && echo {content} >/srv/file && systemctl start lastcopy-backup.service"
    running.machines.shell("web1", script)
    listed = running.machines.run("web1", "restic-backup", "snapshots", "--json").stdout
    return str(json.loads(listed)[-1]["id"])


def of_two_kinds(config: dict[str, Any]) -> None:
    """A source on a machine that is handed its tool, and one that was enrolled by script."""
    config["lastcopy:sources"] = [
        {"name": "web1", "sandbox": {"toolsFrom": "workstation"}, "paths": ["/srv"]},
        {"name": "ext1", "publicKey": SAMPLE_KEY, "paths": ["/etc"]},
    ]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """Set up and backed up by the earlier version; then the checkout was updated to this version, and nothing else was done."""
    root = tmp_path_factory.mktemp("checkout")
    of_then = archive_checkout(EARLIER, root)
    stack = create_local_stack(root, "release", of_two_kinds)
    try:
        stack.up()
        snapshot = backed_up(stack, "then")
        made = Upgraded(
            running=stack,
            resources=stack.resources(),
            outputs=stack.stack.outputs(secrets=True),
            snapshot=snapshot,
        )
        pull(of_then, root)
        yield made
    finally:
        stack.close()


def pull(of_then: list[Path], root: Path) -> None:
    """As `git pull` does: the earlier version's files are replaced by this version's; files that git does not know stay."""
    for file in of_then:
        file.unlink()
    copy_checkout(root)


def unexpected(changes: set[Change]) -> list[Change]:
    """All changes except new senders of programs, and steps that are updated in place because of what they send."""

    def expected(change: Change) -> bool:
        if change.op == "create":
            return change.name in NEW
        sends = change.type == COMMAND or change.name == HAND_OVER
        return change.op == "update" and (change.type == STEP or (sends and set() < change.inputs <= SENT))

    return sorted((one for one in changes if not expected(one)), key=lambda one: one.name)


def test_preview_shows_the_programs_and_updated_steps_and_nothing_else(upgraded: Upgraded) -> None:
    assert not NEW & upgraded.resources.keys(), "the state is that of the earlier version"
    changes = upgraded.running.changes()
    assert unexpected(changes) == []
    assert {one.name for one in changes if one.op == "create"} == NEW
    steps = {name for name, one in upgraded.resources.items() if one["type"] in (STEP, COMMAND)}
    assert len(steps) > 20
    assert {one.name for one in changes if one.op == "update"} == {*steps, HAND_OVER}


def test_sabotage_a_step_renamed_without_an_alias_is_noticed(upgraded: Upgraded) -> None:
    component = upgraded.running.root / "components" / "source" / "schedule" / "backup_schedule.py"
    text = component.read_text()
    component.write_text(weaken(text, 'f"{name}-units",', 'f"{name}-timer",'))
    try:
        seen = {(one.op, one.name) for one in unexpected(upgraded.running.changes())}
    finally:
        component.write_text(text)
    command = "web1-schedule-{}-command".format
    assert {("create", command("timer")), ("delete", command("units"))} <= seen


def covers(new: Any, old: Any) -> bool:
    """The same, or with more fields."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and covers(new[name], value) for name, value in old.items())
    return bool(new == old)


def test_an_upgrade_that_was_killed_in_the_middle_is_completed_by_the_next_up(upgraded: Upgraded) -> None:
    """A7. Afterwards every earlier resource is the same, and the outputs have not changed."""
    running = upgraded.running
    running.up_killed_when("web1-enrolment-client-command")
    running.stack.run("cancel", running.stack.name, "--yes", quiet=True)
    running.up()
    running.preview("--expect-no-changes")
    now = running.resources()
    assert now.keys() - upgraded.resources.keys() == NEW
    for name, then in upgraded.resources.items():
        assert (now[name]["urn"], now[name].get("id")) == (then["urn"], then.get("id")), name
    outputs = running.stack.outputs(secrets=True)
    assert outputs.keys() >= upgraded.outputs.keys()
    for name, value in upgraded.outputs.items():
        if name == "enrolmentScripts":  # texts of the version
            assert outputs[name].keys() == value.keys()
        else:
            assert covers(outputs[name], value), name


def test_earlier_backups_can_be_restored_and_backups_go_on(upgraded: Upgraded) -> None:
    running = upgraded.running
    latest = backed_up(running, "now")
    for snapshot, content in ((upgraded.snapshot, "then\n"), (latest, "now\n")):
        dumped = running.machines.run("web1", "restic-backup", "dump", snapshot, "/srv/file")
        assert dumped.stdout == content
    assert (
        "no errors were found" in running.machines.run("web1", "restic-backup", "check", "--read-data").stdout
    )


def test_attacks_fail_as_on_a_new_stack(upgraded: Upgraded, tmp_path: Path) -> None:
    """S4: the source still cannot delete. A2: nothing that the earlier version left in the state or on a host is a secret in plain text."""
    running, report = upgraded.running, tmp_path / "drill.json"
    words = [
        "-m",
        "ops",
        "attack-drill",
        "--stack",
        running.stack.name,
        "--sandbox",
        str(running.machines.directory),
    ]
    words += ["--source", "web1", "--trial-stack", "--rows", "S4,A2", "--json", str(report)]
    done = subprocess.run(
        [sys.executable, *words], cwd=running.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(report.read_text())["rows"]
    assert {row["row"]: row["verdict"] for row in rows} == {"S4": "proven", "A2": "proven"}, done.stdout
