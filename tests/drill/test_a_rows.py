"""Rows A1 to A7, A9 and A10: each holds on the running stack, and each breaks when its protection is taken away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from attack_drill.findings import RowVerdict
from attack_drill.rows import a3, a4, a6, a7
from components.relay.sshd import sshd_config as sshd
from tests.drill.conftest import Stage, broken_lines, told
from tests.drill.weakening import done_to, edited, scripts_with, without_parts
from tests.sabotage import weaken

ROWS = ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A9", "A10"]
PASSWORD = "/etc/lastcopy/password"


@pytest.mark.parametrize("row", ROWS)
def test_the_row_holds(stage: Stage, row: str) -> None:
    result = stage.play(row)
    assert result.verdict is RowVerdict.PROVEN, told(result)


def test_a1_sabotage_a_source_without_the_pin_falls_for_the_impostor(stage: Stage) -> None:
    weaken = "s/^( *)StrictHostKeyChecking.*/\\1StrictHostKeyChecking no/; s#^( *)(User|Global)KnownHostsFile.*#\\1\\2KnownHostsFile /dev/null#"
    with edited(stage, "web1", "/etc/lastcopy/ssh_config", weaken):
        found = broken_lines(stage.play("A1"))
    assert "the source meets another ed25519 key: it went on to log in" in found
    assert "the scheduled backup meets a relay with another key: status.json: success 0" in found
    assert "the engine" not in found


def test_a2_sabotage_a_secret_in_any_of_four_careless_places_is_found(stage: Stage) -> None:
    """A readable file, restic's environment, the relay's journal (in base64), a comment in the stack file."""
    password = stage.running.stack.outputs(secrets=True)["passwords"]["web1"]
    file = stage.running.stack.file
    text = file.read_text()
    careless = 's/^exec env -i /&RESTIC_PASSWORD="$(cat \\/etc\\/lastcopy\\/password)" /'
    say = "sed -n 's/^aws_secret_access_key=//p' /etc/lastcopy/relay/web1/credentials | base64 -w 0 | systemd-cat && journalctl --sync"
    forget = "journalctl -q --sync --rotate --vacuum-time=1s"
    with (
        edited(stage, "web1", "/usr/local/bin/restic-backup", careless),
        done_to(stage, "relay", say, forget),
        done_to(stage, "web1", f"chmod 444 {PASSWORD}", f"chmod 400 {PASSWORD}"),
    ):
        file.write_text(f"{text}# {password}\n")
        try:
            found = broken_lines(stage.play("A2"))
        finally:
            file.write_text(text)
    assert "a command line or environment on web1: ['password of web1']" in found
    assert "the journal on relay: ['storage identity of web1']" in found
    assert f"password of web1 in {PASSWORD}" in found
    assert "the stack file: ['password of web1']" in found


def test_a3_sabotage_without_guard_and_comparison_the_admin_is_locked_out(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step neither compares sshd's settings with what was meant, nor starts the rollback timer. The row itself restores the admin's access."""
    scripts_with(
        tmp_path,
        monkeypatch,
        ("lib.sh", "guard_arm() {", "guard_arm() { cat >/dev/null; return 0;"),
        ("sshd.sh", "expect() {", "expect() { return 0;"),
    )
    monkeypatch.setattr(a3, "ROLLED_BACK", 4)  # nothing is rolled back here, however long the row waits
    found = broken_lines(stage.play("A3"))
    assert "'PasswordAuthentication yes': it would go live" in found
    assert (
        "sshd is rolled back by itself, and the operator can log in: ['the operator is still locked out'"
        in found
    )
    assert (
        "the firewall is rolled back by itself, and the operator can log in: ['the operator is still locked out'"
        in found
    )
    assert "NoSuchKeyword" not in found
    monkeypatch.undo()
    assert stage.drill.relay.shell("ls /var/lib/lastcopy/guard").out == ""


def test_a4_sabotage_with_a_low_minimum_version_and_a_step_that_does_not_compare_old_tools_are_accepted(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts_with(tmp_path, monkeypatch, ("lib.sh", "version_at_least() {", "version_at_least() { return 0;"))
    without_parts(monkeypatch, a4, "_in_place")
    with (
        edited(stage, "relay", "/etc/lastcopy/relay/rclone", "s/^floor .*/floor 1.50/"),
        edited(stage, "web1", "/etc/lastcopy/restic.conf", "s/^floor=.*/floor=0.10/"),
    ):
        found = broken_lines(stage.play("A4"))
    assert "the running relay is given rclone '1.68.2'" in found
    assert "the relay's step is given rclone '1.40'" in found
    assert "the source is given restic '0.14.0'" in found
    assert "the tool step is given restic '0.14.0'" in found


def test_a5_sabotage_a_program_that_protects_nothing_and_a_bucket_that_locks_nothing_are_caught(
    stage: Stage,
) -> None:
    """The preview alone shows it, so the row does not go on to destroy the test's stack."""
    program = stage.running.root / "components" / "source" / "repository" / "restic_repository.py"
    text = program.read_text()
    assert "protect=args.protect" in text
    storage = stage.drill.require_storage()
    bucket = storage.where.bucket
    lock = storage.call(lambda s3: s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"])
    none = {"ObjectLockEnabled": "Enabled"}
    try:
        program.write_text(weaken(text, "protect=args.protect", "protect=False"))
        storage.call(lambda s3: s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=none))
        found = broken_lines(stage.play("A5"))
    finally:
        program.write_text(text)
        storage.call(lambda s3: s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock))
    assert "the stack's passwords are protected: nothing in the state is" in found
    assert "the administrator tries on every version: delete the version: done" in found
    assert "every version is still there: ['gone: " in found


@pytest.mark.parametrize("weak", ["PAM asks nothing", "sshd asks for a key alone", "sshd asks for no PIN"])
def test_a6_sabotage_without_the_second_factor_a_stolen_key_works(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    if weak == "PAM asks nothing":
        old = "pam_google_authenticator.so user=root"
        scripts_with(tmp_path, monkeypatch, ("second_factor.sh", old, "pam_permit.so x=root"))
        without_parts(monkeypatch, a6, "_fido2")
        broke = "a person's stolen key with a guessed code"
    elif weak == "sshd asks for a key alone":
        people = sshd._people
        monkeypatch.setattr(sshd, "_people", lambda plan: people(replace(plan, second_factor="none")))
        without_parts(monkeypatch, a6, "_fido2")
        broke = "the admin's stolen key, as the client does by itself"
    else:
        lines, keys, need = sshd._people, sshd.people_keys, "verify-required"
        monkeypatch.setattr(sshd, "_people", lambda plan: [one for one in lines(plan) if need not in one])
        monkeypatch.setattr(
            sshd,
            "people_keys",
            lambda *a: {name: text.replace(f",{need}", "") for name, text in keys(*a).items()},
        )
        without_parts(monkeypatch, a6, "_totp")
        broke = "a person's security key, touched without its PIN"
    found = broken_lines(stage.play("A6"))
    assert f"{broke}: it logged in" in found


def test_a7_sabotage_a_step_that_takes_half_of_its_work_for_the_whole_is_caught(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry's step only checks whether the account exists, so what a killed run left out is never added."""
    old = "step_apply() {\n  names\n"
    new = 'step_apply() {\n  names\n  if [ "$MODE" = apply ] && getent passwd "$account" >/dev/null; then return 0; fi\n'
    scripts_with(tmp_path, monkeypatch, ("relay_entry.sh", old, new))
    without_parts(
        monkeypatch, a7, "_backups", "_restores", "_full_disk_on_source", "_reboot", "_nothing_lost"
    )
    assert "the next run completes it: apply 0, check 3" in broken_lines(stage.play("A7"))


def test_a9_sabotage_a_backup_that_always_reports_success_is_caught(stage: Stage) -> None:
    """As it was before: a run that made any snapshot, or had nothing to back up, was a success."""
    with edited(stage, "web1", "/usr/local/lib/lastcopy/run-backup", "s/leave (71|72|77) /leave 0 /"):
        found = broken_lines(stage.play("A9"))
    for tried in (
        "most files of a path are gone", "a link, a missing and an empty path, and nothing else", "the same beside a good path",
        "an exclude that leaves nothing of a path", "a file that cannot be read, week after week",
    ):  # fmt: skip
        assert f"{tried}: exit code 0, success" in found
    assert "the restore test finds it in the snapshots" not in found, (
        "the restore test does not rely on what the source says"
    )


def test_a10_sabotage_a_storage_step_that_checks_too_little_accepts_weak_storages(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step tries no second write, no change of the bucket's settings, and does not read the lifecycle."""
    scripts_with(
        tmp_path,
        monkeypatch,
        ("storage_proof.sh", "  second_write\n", ""),
        ("storage_rights.sh", "  settings\n", ""),
        ("storage_check.sh", "  lifecycle\n", ""),
    )
    found = broken_lines(stage.play("A10"))
    for weak in (
        "takes a second write of a name",
        "lets the identity change the bucket",
        "lets current objects expire",
    ):
        assert f"a storage that {weak}: it is not reported" in found
    assert "a storage that locks nothing" not in found
