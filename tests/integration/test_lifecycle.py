"""The whole chain with the real engine: built, unchanged, backed up, restored, attacked, changed step by step (rows S3, A7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doc_shell import blocks
from tests.integration.checkout import Change, Running
from tests.trees import listing_of
from toolchain.checkout import ROOT

TREE = "/srv/data"


@pytest.fixture(scope="module")
def backed_up(running: Running) -> Running:
    """One backup of a known tree on web1, made by the timer's own service."""
    running.machines.shell(
        "web1",
        f"mkdir -p {TREE}/sub && cd {TREE} && printf one >one && printf two >'sub/ two' && printf '%s' three >sub/-three && "
        "head -c 3000000 /dev/urandom >blob && ln -sf /nowhere dangling && chown 1234:4321 blob && systemctl start lastcopy-backup.service",
    )
    return running


def restic(running: Running, *words: str, check: bool = True) -> Any:
    return running.machines.run("web1", "restic-backup", *words, check=check)


def snapshots(running: Running) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(restic(running, "snapshots", "--json").stdout)
    return listed


def manifest(running: Running, folder: str) -> str:
    return running.machines.shell("web1", listing_of(folder)).stdout


def restored_manifest(running: Running, snapshot: str) -> str:
    running.machines.shell("web1", "rm -rf /var/tmp/restored")
    restic(running, "restore", snapshot, "--target", "/var/tmp/restored", "--include", TREE)
    return manifest(running, f"/var/tmp/restored{TREE}")


def restored_equals_source(running: Running) -> bool:
    return manifest(running, TREE) == restored_manifest(running, "latest")


def test_an_up_that_was_killed_in_the_middle_is_completed_by_the_next(running: Running) -> None:
    """A7: the fixture killed the engine of the very first `up` while the relay's first step was running."""
    assert "relay-sshd" in running.killed_output
    assert running.first_up.returncode == 0, running.first_up.stdout


def test_a_source_with_debian_12_and_no_internet_access_gets_restic_and_backs_up(
    running: Running,
) -> None:
    """db1 was made without restic; the first `up` sent it. Its systemd (252) has no growing pauses between retries, so the pause is fixed."""
    script = """
    set -eu
    grep -qx 'VERSION_ID="12"' /etc/os-release && [ ! -e /usr/local/bin/restic ]
    [ "$(ls -A /usr/local/lib/lastcopy/restic-*)" = restic ] && [ -z "$(find /usr/local/lib/lastcopy -name '.*' ! -name .mark)" ]
    mkdir -p /srv/data && head -c 100000 /dev/urandom >/srv/data/blob
    systemctl is-active -q lastcopy-backup.timer && [ ! -e /etc/systemd/system/lastcopy-backup.service.d/backoff.conf ]
    systemctl start lastcopy-backup.service && grep -q '"result": "success"' /var/lib/lastcopy/status.json
    restic-backup restore latest --target /var/tmp/db1 --include /srv/data 2>/dev/null
    cmp /srv/data/blob /var/tmp/db1/srv/data/blob && rm -r /var/tmp/db1 /srv/data
    """
    running.machines.shell("db1", script)


def test_a_second_preview_has_no_changes(running: Running) -> None:
    running.preview("--expect-no-changes")


def test_sabotage_preview_would_notice_a_change(running: Running) -> None:
    """Sabotage of the test above: the same command fails if there is something to do."""
    text = running.stack.file.read_text()
    running.configure(lambda config: config["lastcopy:sources"][0].update(schedule="*-*-* 05:05:00"))
    try:
        assert running.preview("--expect-no-changes", check=False).returncode != 0
    finally:
        running.stack.file.write_text(text)


def test_the_timers_service_makes_a_backup_and_reports_success(backed_up: Running) -> None:
    status = json.loads(backed_up.machines.run("web1", "cat", "/var/lib/lastcopy/status.json").stdout)
    assert status["result"] == "success"
    assert status["exit_code"] == 0
    assert status["last_success"]
    shown = backed_up.machines.run(
        "web1", "systemctl", "status", "lastcopy-backup.service", check=False
    ).stdout
    assert "success" in shown
    timer = backed_up.machines.run(
        "web1", "systemctl", "show", "lastcopy-backup.timer", "-p", "ActiveState,Persistent"
    ).stdout
    assert "ActiveState=active" in timer
    assert "Persistent=yes" in timer
    assert len(snapshots(backed_up)) >= 1


def test_restore_is_byte_identical(backed_up: Running) -> None:
    assert restored_equals_source(backed_up)


def test_sabotage_the_restore_comparison_notices_one_changed_byte(backed_up: Running) -> None:
    """Sabotage: after a byte changed on the source, the same comparison fails."""
    backed_up.machines.shell("web1", f"cp -a {TREE}/one /var/tmp/one && printf onE >{TREE}/one")
    try:
        assert not restored_equals_source(backed_up)
    finally:
        backed_up.machines.shell("web1", f"cp -a /var/tmp/one {TREE}/one")


def test_list_check_diff_dump_and_mount_work_for_the_source(backed_up: Running) -> None:
    backed_up.machines.shell(
        "web1", f"printf more >{TREE}/more && systemctl start lastcopy-backup.service && rm {TREE}/more"
    )
    ids = [s["short_id"] for s in snapshots(backed_up)]
    assert f"{TREE}/one" in restic(backed_up, "ls", ids[-1]).stdout
    assert "no errors were found" in restic(backed_up, "check", "--read-data").stdout
    assert f"+    {TREE}/more" in restic(backed_up, "diff", ids[-2], ids[-1]).stdout
    assert restic(backed_up, "dump", ids[-1], f"{TREE}/sub/-three").stdout == "three"
    mounted = backed_up.machines.shell(
        "web1",
        "mkdir -p /mnt/backup && (restic-backup mount /mnt/backup >/dev/null 2>&1 & echo $! >/run/mount.pid); "
        "for i in $(seq 300); do [ ! -d /mnt/backup/snapshots/latest ] || break; sleep 0.2; done; "
        f"cat /mnt/backup/snapshots/latest{TREE}/one; umount /mnt/backup; wait",
        check=False,
    )
    assert mounted.stdout.startswith("one"), mounted


def test_the_wrapper_explains_at_once_why_a_destructive_command_is_useless(backed_up: Running) -> None:
    done = restic(backed_up, "forget", "--keep-last", "1", check=False)
    assert done.returncode == 64, (
        "not the wrapper's own refusal, which comes before any connection to the relay"
    )
    assert "relay" in done.stderr


def touched(changes: set[Change]) -> set[str]:
    return {change.name for change in changes if not change.type.startswith("pulumi:")}


def test_a_changed_schedule_touches_only_that_schedule(running: Running) -> None:
    running.configure(lambda config: config["lastcopy:sources"][0].update(schedule="*-*-* 04:30:00"))
    changes = running.changes()
    assert touched(changes)
    assert all(name.startswith("web1-schedule") for name in touched(changes)), changes
    assert {change.op for change in changes if change.name in touched(changes)} == {"update"}
    running.up()
    timers = running.machines.run("web1", "systemctl", "cat", "lastcopy-backup.timer").stdout
    assert "OnCalendar=*-*-* 04:30:00" in timers
    running.preview("--expect-no-changes")


def without_third(config: dict[str, Any]) -> None:
    config["lastcopy:sources"] = [one for one in config["lastcopy:sources"] if one["name"] != "app1"]


@pytest.fixture(scope="module")
def third(running: Running) -> Iterator[set[Change]]:
    """Add source app1 to web1 and db1; returns the resources that this touched."""
    running.configure(
        lambda config: config["lastcopy:sources"].append({"name": "app1", "sandbox": {}, "paths": ["/etc"]})
    )
    changes = running.changes()
    running.up()
    yield changes
    if "app1" in running.stack.file.read_text():
        running.configure(without_third)
        running.up()


def test_a_source_is_added_without_touching_the_others(running: Running, third: set[Change]) -> None:
    assert touched(third)
    assert all("app1" in name for name in touched(third)), third
    assert {change.op for change in third if change.name in touched(third)} == {"create"}
    running.machines.run("app1", "systemctl", "start", "lastcopy-backup.service")
    assert len(json.loads(running.machines.run("app1", "restic-backup", "snapshots", "--json").stdout)) == 1
    assert "bk-app1" in running.machines.run("relay", "getent", "passwd", "bk-app1").stdout


def delays(running: Running) -> dict[str, str]:
    """The delay of each source's timer."""
    asked = ("systemctl", "show", "-p", "RandomizedDelayUSec", "--value", "lastcopy-backup.timer")
    return {name: running.machines.run(name, *asked).stdout.strip() for name in ("app1", "db1", "web1")}


@pytest.mark.usefixtures("third")
def test_a_dead_host_does_not_keep_others_from_being_updated(running: Running) -> None:
    """Of three sources that all change, one does not answer: two converge, the run fails, and the next run completes the third."""

    def change(delay: str) -> None:
        running.configure(
            lambda config: [one.update(randomizedDelay=delay) for one in config["lastcopy:sources"]]
        )

    change("7m")
    running.machines.run("app1", "systemctl", "stop", "ssh.service")
    try:
        refused = running.up("--continue-on-error", check=False)
    finally:
        running.machines.run("app1", "systemctl", "start", "ssh.service")
    assert refused.returncode != 0, refused.stdout
    assert "connection refused" in refused.stdout
    assert delays(running) == {"app1": "30min", "db1": "7min", "web1": "7min"}, refused.stdout
    running.up()
    assert set(delays(running).values()) == {"7min"}


@pytest.mark.usefixtures("third")
def test_a_source_is_removed_without_touching_the_others(running: Running) -> None:
    running.configure(without_third)
    changes = running.changes()
    assert touched(changes)
    assert all("app1" in name for name in touched(changes)), changes
    assert {change.op for change in changes if change.name in touched(changes)} == {"delete"}
    shown = running.up().stdout.splitlines()
    # S11: the key is revoked before any step connects to the source's host, which may be dead or hostile.
    cut_off = next(number for number, line in enumerate(shown) if "app1-cutoff-command deleted" in line)
    others = [n for n, line in enumerate(shown) if "remote:Command app1-" in line and "cutoff" not in line]
    assert others
    assert min(others) > cut_off, shown
    assert running.machines.run("relay", "getent", "passwd", "bk-app1", check=False).returncode != 0
    assert running.machines.run("web1", "restic-backup", "snapshots").returncode == 0
    running.preview("--expect-no-changes")


def test_an_unmanaged_source_enrols_itself_with_the_programs_script(running: Running) -> None:
    """The machine is not part of the stack: the admin's key is never used on it."""
    before = running.stack.file.read_text()
    facts = running.machines.sandbox("machine-up", "--name", "ext1", "--role", "source")
    assert facts.returncode == 0, facts.stderr
    try:
        by_hand = blocks(ROOT / "docs" / "operations.md", "### Enrol a source that you cannot reach")[0]
        key = running.machines.run("ext1", "sh", "-s", stdin=by_hand).stdout.strip()
        running.configure(
            lambda config: config["lastcopy:sources"].append(
                {"name": "ext1", "publicKey": key, "paths": ["/etc"]}
            )
        )
        running.up()
        outputs = running.stack.outputs(secrets=True)
        script = outputs["enrolmentScripts"]["ext1"]
        assert outputs["passwords"]["ext1"] not in script.replace("V_", ""), (
            "the password is encoded, not readable at a glance"
        )
        running.machines.run("ext1", "sh", "-s", stdin=script)
        running.machines.run("ext1", "sh", "-s", stdin=script)  # running it twice changes nothing
        running.machines.run("ext1", "systemctl", "start", "lastcopy-backup.service")
        assert (
            len(json.loads(running.machines.run("ext1", "restic-backup", "snapshots", "--json").stdout)) == 1
        )
    finally:
        running.stack.file.write_text(before)
        running.up()
        running.machines.sandbox("machine-down", "--name", "ext1")
