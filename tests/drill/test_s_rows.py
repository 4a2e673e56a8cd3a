"""Rows S: each holds on the running stack, and each breaks when its protection is taken away."""

from __future__ import annotations

import pytest

import components.host.program_texts
from attack_drill.findings import RowVerdict
from attack_drill.rows import s3, s5, s7, s11
from tests.drill.conftest import Stage, broken, told
from tests.drill.weakening import (
    DROP_IN,
    KEYS,
    NO_APPEND_ONLY,
    SERVE,
    edited,
    no_layers,
    restart_sshd,
    wide_identity,
    without_parts,
)
from tests.sabotage import weaken

FORGET = "forget, all"


@pytest.mark.parametrize("row", ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S11"])
def test_the_row_holds(stage: Stage, row: str) -> None:
    result = stage.play(row)
    assert result.verdict is RowVerdict.PROVEN, told(result)


def test_s1_s2_sabotage_without_any_layer_commands_run_and_channels_open(stage: Stage) -> None:
    stage.drill.scratch_repository()  # before: its entry is a copy of the running one
    with no_layers(stage):
        restart_sshd(stage)
        one, two = stage.play("S1"), stage.play("S2")
    assert one.verdict is RowVerdict.BROKEN, told(one)
    ran = {
        "command touch MARK; id",
        "a shell without a terminal",
        "the relay's sshd started nothing but the forced command",
    }
    assert ran <= broken(one), told(one)
    assert len(broken(one)) > 20, told(one)
    assert two.verdict is RowVerdict.BROKEN, told(two)
    opened = {
        "-R 127.0.0.1:0", "-A, the agent", "-W to the relay's own sshd", "-L to the relay's sshd", "-L to a socket on the relay",
        "-D to the relay's sshd", "SetEnv RCLONE_CONFIG", "SetEnv BASH_ENV", "~/.ssh/rc", "~/.ssh/authorized_keys with another key",
    }  # fmt: skip
    assert opened <= broken(two), told(two)


def test_s3_sabotage_without_append_only_and_with_a_wide_identity_snapshots_are_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = s3.commands
    monkeypatch.setattr(s3, "commands", lambda *given: {FORGET: commands(*given)[FORGET]})
    with wide_identity(stage), edited(stage, "relay", SERVE, NO_APPEND_ONLY):
        result = stage.play("S3")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert {
        f"restic {FORGET}",
        "every snapshot is still listed",
        "the first snapshot restores byte for byte",
    } <= broken(result), told(result)


def test_s4_sabotage_without_append_only_it_breaks(stage: Stage) -> None:
    """rclone accepts DELETE; the storage's policy and lock still keep the objects, but the answer already counts as broken."""
    with edited(stage, "relay", SERVE, NO_APPEND_ONLY):
        result = stage.play("S4")
    assert result.verdict is RowVerdict.BROKEN, told(result)


NO_HEADER = "/^arg --header-upload$/d; /^arg If-None-Match/d"


def test_s5_sabotage_without_append_only_and_conditional_writes_objects_are_overwritten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(monkeypatch, s5, "_crowds", "_bodies", "_races", "_failed_look_up")
    with (
        edited(stage, "relay", SERVE, NO_APPEND_ONLY),
        edited(stage, "relay", "/etc/lastcopy/relay/web1/serve.conf", NO_HEADER),
    ):
        result = stage.play("S5")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert {
        "no overwrite is answered with success",
        "nothing in the storage was covered, changed or removed",
    } <= broken(result), told(result)


def test_s5_sabotage_without_the_conditional_write_a_race_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclone's own lookup does not see what another session is about to write. Whether concurrent writes are lost is chance; these always are."""
    without_parts(monkeypatch, s5, "_crowds", "_bodies", "_failed_look_up")
    with edited(stage, "relay", "/etc/lastcopy/relay/web1/serve.conf", NO_HEADER):
        result = stage.play("S5")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    lost = broken(result)
    assert f"{s5.SESSIONS} first writes after all their lookups" in lost, told(result)
    assert all("first writes" in tried for tried in lost), told(result)


def test_s6_sabotage_served_from_the_buckets_root_other_sources_are_read_and_written(stage: Stage) -> None:
    """As if rclone accepted any path: the other source's objects are read by name, and garbage is written beside them."""
    root = '/^confined "\\$\\{hours\\}h" 3/i for a in "$@"; do shift; case $a in lastcopy:backups/web1/*) a=lastcopy:backups ;; esac; set -- "$@" "$a"; done'
    with wide_identity(stage), edited(stage, "relay", SERVE, root):
        result = stage.play("S6")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert any(tried.startswith("GET /db1/g1/config for db1's") for tried in broken(result)), told(result)
    assert any(
        tried.startswith("POST by") and tried.endswith("against a repository of db1")
        for tried in broken(result)
    ), told(result)


def test_s7_sabotage_with_rclones_messages_shown_to_the_source_the_storage_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parts(monkeypatch, s7, "_restic")
    words = "s/^ *clean systemd-cat .*/  clean \\\\/; s/3>&- 4>&- 5>&-/2>\\&4 3>\\&- 5>\\&-/"
    plant = f"printf 'endpoint=%s\\n' {stage.drill.where.endpoint} >/etc/careless"
    stage.machines.shell("web1", plant)
    try:
        with edited(stage, "relay", SERVE, words):
            result = stage.play("S7")
    finally:
        stage.machines.shell("web1", "rm /etc/careless")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    said = {"an entry with a wrong secret key", "an outage that begins in the middle of a session"}
    assert {*said, "files, journal, environments and command lines of the source"} <= broken(result), told(
        result
    )


def test_s11_sabotage_with_from_ignored_sessions_outlive_their_key(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sshd gets keys from a command that drops `from=`, and the relay's steps end no process."""
    command = "/usr/local/sbin/loose-keys"
    script = (
        f"printf '#!/bin/sh\\nsed -E \"s/,?from=[^ ]*//\" {KEYS}/$1\\n' >{command} && chmod 755 {command}"
    )
    rule = (
        f"s#^( *)AuthorizedKeysCommand none#\\1AuthorizedKeysFile none\\n\\1AuthorizedKeysCommand {command} %u\\n"
        "\\1AuthorizedKeysCommandUser root#; /^ *AuthorizedKeysFile .etc.ssh.lastcopy.keys.%u$/d"
    )
    text = components.host.program_texts.script_text

    def weak(name: str, values: dict[str, str]) -> str:
        whole = text(name, values)
        assert "end_processes_of() {" in whole
        return weaken(whole, "end_processes_of() {", "end_processes_of() { return 0")

    stage.machines.shell("relay", script)
    try:
        with edited(stage, "relay", DROP_IN, rule), monkeypatch.context() as patched:
            restart_sshd(stage)
            patched.setattr(components.host.program_texts, "script_text", weak)
            patched.setattr(s11, "SECONDS", 4)  # no process ends here, however long the row waits
            result = stage.play("S11")
    finally:
        stage.machines.shell("relay", f"rm {command}")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert {"with from=192.0.2.77/32 the key is refused from elsewhere", "a new key for the source ends the stolen key's sessions",
            "the cut-off ends every open session"} <= broken(result), told(result)  # fmt: skip
