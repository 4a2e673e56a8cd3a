"""The restore test on the running stack: the canary that `pulumi up` planted is in web1's snapshot, and a changed canary is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.restore_test.canary import FOLDER, expected
from tests.integration.checkout import Running
from tests.integration.test_recovery import ops


def restore_test(running: Running, place: Path) -> tuple[int, dict[str, object], str]:
    """Test web1. Returns the exit status, the line in the record, and the output."""
    done = ops(
        running, "restore-test", "run", "--stack", running.stack.name, "--sandbox", str(running.machines.directory),
        "--source", "web1", "--record", str(place / "record"), "--scratch", str(place), "--sample-mib", "4",
    )  # fmt: skip
    lines = (place / "record").read_text().splitlines()
    assert [path.name for path in place.iterdir()] == ["record"]
    return done.returncode, json.loads(lines[-1]), done.stdout + done.stderr


def test_the_newest_snapshot_is_restored_with_its_canary_and_a_changed_canary_is_reported(
    running: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("restore-test")
    machines = running.machines
    file = f"{FOLDER}/letter.txt"
    machines.shell("web1", "mkdir -p /srv/data && echo x >/srv/data/for-the-restore-test")
    machines.run("web1", "systemctl", "start", "lastcopy-backup.service")
    code, line, said = restore_test(running, place)
    assert code == 0, said
    assert (line["result"], line["canaryFiles"]) == ("passed", len(expected("")))
    assert line["repository"] == running.stack.outputs()["sources"]["web1"]["repositoryId"]

    machines.shell("web1", f"cp -p {file} /root/letter && echo x >>{file}")
    try:
        machines.run("web1", "systemctl", "start", "lastcopy-backup.service")
        code, line, said = restore_test(running, place)
        assert (code, line["result"]) == (1, "failed"), said
        assert "1 of 6 canary files have changed (letter.txt)" in said
    finally:
        machines.shell("web1", f"mv /root/letter {file}")
        machines.run("web1", "systemctl", "start", "lastcopy-backup.service")
