"""Rows R: each holds on the running stack, and each breaks when its protection is taken away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from attack_drill.findings import RowVerdict
from attack_drill.options import Level
from attack_drill.rows import PLAYS
from attack_drill.runner import play_row
from attack_drill.threats import THREATS
from ops.recover import recovery as whole
from sandbox import Sandbox, netns
from tests.drill.conftest import Stage, broken, broken_lines, told
from tests.drill.weakening import weaker_bucket, wider_policy


@pytest.mark.parametrize("row", ["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8"])
def test_the_row_holds(stage: Stage, row: str) -> None:
    result = stage.play(row)
    assert result.verdict is RowVerdict.PROVEN, told(result)


@pytest.mark.parametrize("row", ["R1", "R2", "R4", "R5", "R8"])
def test_without_a_judge_only_harmless_calls_are_made(stage: Stage, row: str) -> None:
    """As on production without a storage key, from where the storage can be reached, and from where it cannot."""
    safe = replace(stage.drill, storage=None, level=Level.SAFE, _scratch_repositories=[], _shared={})
    before = {one.version for one in stage.drill.require_storage().versions("", contents=False)}
    threat = next(threat for threat in THREATS if threat.id == row)
    with Sandbox(stage.machines.directory).storage_admin():
        result = play_row(safe, threat, PLAYS[row], lambda _: None)
    assert result.verdict is RowVerdict.IN_PART, told(result)
    assert {one.version for one in stage.drill.require_storage().versions("", contents=False)} == before
    elsewhere = play_row(safe, threat, PLAYS[row], lambda _: None)
    assert elsewhere.verdict is RowVerdict.NOT_PROVEN, told(elsewhere)


def test_r1_sabotage_an_identity_that_may_delete_hides_every_object(stage: Stage) -> None:
    where = stage.drill.where
    may = {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"arn:aws:s3:::{where.bucket}/web1/*"]}  # fmt: skip
    with wider_policy(stage, "web1", may):
        result = stage.play("R1")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert "hidden: " in broken_lines(result), told(result)


def test_r2_sabotage_where_the_lock_can_be_bypassed_versions_are_lost(stage: Stage) -> None:
    with weaker_bucket(stage, lock="GOVERNANCE"):
        result = stage.play("R2")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert "gone: " in broken_lines(result), told(result)


def test_r3_sabotage_without_versions_nothing_can_be_restored(stage: Stage) -> None:
    with weaker_bucket(stage, lock=None):
        result = stage.play("R3")
    tried = broken(result)
    assert {
        "every earlier version is kept, with its content",
        "every snapshot restores from the view of that moment, byte for byte",
    } <= tried, told(result)


def test_r3_sabotage_recovery_by_dates_that_an_attacker_chose_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write can set a version's date on minio by a header, so recovery uses the end of the lock instead."""
    monkeypatch.setattr(whole, "_by_writing", lambda _access, _storage, history, *_: history)
    result = stage.play("R3")
    assert "every snapshot restores from the view of that moment, byte for byte" in broken(result), told(
        result
    )


def test_r4_sabotage_an_identity_with_all_rights_changes_the_bucket(stage: Stage) -> None:
    with weaker_bucket(stage, lock="GOVERNANCE"):
        result = stage.play("R4")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert any("settings afterwards" in tried for tried in broken(result)), told(result)


def test_r5_sabotage_an_identity_that_sets_retention_locks_for_decades(stage: Stage) -> None:
    with weaker_bucket(stage, lock="GOVERNANCE"):
        result = stage.play("R5")
    assert any("for longer" in tried for tried in broken(result)), told(result)


@contextmanager
def note(stage: Stage, text: str) -> Iterator[None]:
    """A file created by root on the relay."""
    stage.machines.run("relay", "sh", "-c", "umask 077; cat >/root/note", stdin=text)
    try:
        yield
    finally:
        stage.machines.run("relay", "rm", "-f", "/root/note")


@contextmanager
def in_memory(stage: Stage, text: str) -> Iterator[None]:
    """A process on the relay that has the text only in memory."""
    with subprocess.Popen(
        stage.machines.words("relay", "perl", "-e", "$w = <STDIN>; <STDIN>; print $w"),
        cwd=stage.running.root, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdin is not None
        holder.stdin.write(text + "\n")
        holder.stdin.flush()
        try:
            yield
        finally:
            holder.stdin.close()
            holder.wait(20)


@pytest.mark.parametrize("place", [note, in_memory])
def test_r6_sabotage_a_password_on_the_relay_is_found(stage: Stage, place: object) -> None:
    password = stage.drill.stack.outputs(secrets=True)["passwords"]["db1"]
    with place(stage, password):  # type: ignore[operator]
        result = stage.play("R6")
    assert result.verdict is RowVerdict.BROKEN, told(result)
    assert all("password of db1" in tried for tried in broken(result)), told(result)
    assert password not in told(result)


def test_r7_sabotage_a_key_that_opens_a_source_is_found(stage: Stage) -> None:
    machines = stage.machines
    public = machines.shell(
        "relay", "ssh-keygen -q -t ed25519 -N '' -f /root/spare && cat /root/spare.pub"
    ).stdout
    let_in = "mkdir -p -m 700 /root/.ssh; cd /root/.ssh; touch authorized_keys; cp -a authorized_keys /root/kept; cat >>authorized_keys"
    machines.run("web1", "sh", "-c", let_in, stdin=public)
    try:
        result = stage.play("R7")
    finally:
        machines.shell("relay", "rm /root/spare /root/spare.pub")
        machines.shell("web1", "mv /root/kept /root/.ssh/authorized_keys")
    assert sorted(broken(result)) == ["no private key of the relay's opens a source"], told(result)  # fmt: skip


def test_r7_sabotage_where_the_network_lets_the_relay_through_it_reaches_a_source(stage: Stage) -> None:
    """Without the network's own rules only the relay's firewall protects the sources, and root can remove it."""
    box = Sandbox(stage.machines.directory)
    plan = box.plan
    subprocess.run(
        ["nsenter", f"--net={netns.path(plan.router_ns)}", "nft", "delete", "table", "inet", plan.table],
        check=True,
    )
    try:
        result = stage.play("R7")
    finally:
        box.network_up(str(plan.network))
    assert sorted(broken(result)) == ["nor does root after removing the relay's own firewall"], told(result)  # fmt: skip


def test_r8_sabotage_an_identity_for_the_whole_bucket_reaches_another_prefix(stage: Stage) -> None:
    with wider_policy(stage, "web1", prefix=""):
        result = stage.play("R8")
    tried = broken(result)
    assert {"read", "overwrite", "copy to the own prefix", "no content of the other's is below the own prefix"} <= tried, told(result)  # fmt: skip


@pytest.mark.parametrize("row", ["R1", "R8"])
def test_the_row_holds_again_afterwards(stage: Stage, row: str) -> None:
    """The sabotages undid what they changed."""
    result = stage.play(row)
    assert result.verdict is RowVerdict.PROVEN, told(result)
