"""R3 on the running stack: the storage's root destroys a source's repository, and `lastcopy recover` restores it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.checkout import Running
from tests.integration.store_view import BUCKET, open_store, versions

SUM = "cd {} && find . -type f -exec sha256sum {{}} + | sort"


def ops(running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb on the stack's own outputs, with the storage's root as the break-glass identity."""
    return subprocess.run(
        [sys.executable, "-m", "ops", *words],
        cwd=running.root,
        env=running.stack.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def recover(running: Running, verb: str, *words: str) -> str:
    place = ["--stack", running.stack.name, "--sandbox", str(running.machines.directory)]
    done = ops(running, "recover", verb, "--source", "db1", *place, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def attack(running: Running) -> None:
    """Every object of db1 hidden, every second one overwritten first."""
    with open_store(running) as s3:
        names = [row["Key"] for row in s3.list_objects_v2(Bucket=BUCKET, Prefix="db1/")["Contents"]]
        for number, name in enumerate(names):
            if number % 2:
                s3.put_object(Bucket=BUCKET, Key=name, Body=b"garbage")
            s3.delete_object(Bucket=BUCKET, Key=name)


def test_r3_a_destroyed_repository_is_restored_from_the_stacks_outputs_and_rebuilt_for_the_source(
    running: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("recovered") / "back"
    machines = running.machines
    machines.shell(
        "db1",
        "mkdir -p /srv/known && head -c 2000000 /dev/urandom >/srv/known/blob && systemctl start lastcopy-backup.service",
    )
    known = machines.shell("db1", SUM.format("/srv/known")).stdout
    before = set(versions(running, contents=False))
    attack(running)
    assert machines.run("db1", "restic-backup", "snapshots", check=False).returncode != 0
    assert "hidden by delete markers" in recover(running, "look")

    recover(running, "restore", "--path", "/srv/known", "--target", str(target))
    came_back = subprocess.run(
        ["sh", "-c", SUM.format(target / "srv" / "known")], capture_output=True, text=True, check=True
    )
    assert came_back.stdout == known

    assert "nothing was changed" in recover(running, "rebuild")
    assert "no version was deleted" in recover(running, "rebuild", "--really")
    assert set(versions(running, contents=False)) >= before
    assert "no errors were found" in machines.run("db1", "restic-backup", "check").stdout
    machines.run("db1", "systemctl", "start", "lastcopy-backup.service")  # and backups go on


def test_the_kit_of_the_running_stack_names_every_source_and_shows_no_secret(
    running: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kit")
    phrase = folder / "passphrase"
    phrase.touch(0o600)
    phrase.write_text("six random words written on paper\n")
    opens = ["--passphrase-file", str(phrase)]
    made = ops(running, "kit", "write", "--stack", running.stack.name, "--out", str(folder / "kit"), *opens)
    assert made.returncode == 0, made.stderr
    shown = ops(running, "kit", "show", "--kit", str(folder / "kit"), *opens)
    page = (folder / "kit.html").read_text()
    outputs = running.stack.outputs(secrets=True)
    for name, summary in outputs["sources"].items():
        assert name in shown.stdout
        assert summary["repositoryId"] in page
        assert summary["hostKey"] in page
        assert outputs["passwords"][name] not in page + shown.stdout + made.stdout + made.stderr
