"""Rows R: each holds on the running stack, and each is seen to break when what holds it is taken away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.drill.model import Finding, Outcome, Result, Verdict
from sandbox import Sandbox, netns
from tests.drill import weak
from tests.drill.conftest import Stage, told

# minio takes the date of a version from a header of the writer's, with s3:PutObject alone: docs/threat-model.md, R3.
DATES = "the storage dates every version itself, whatever a writer asks for"


def broken(result: Result) -> list[Finding]:
    return [one for one in result.findings if one.outcome is Outcome.BROKEN]


@pytest.mark.parametrize("row", ["R1", "R2", "R4", "R5", "R6", "R7", "R8"])
def test_the_row_holds(stage: Stage, row: str) -> None:
    result = stage.play(row)
    assert result.verdict is Verdict.PROVEN, told(result)


def test_r3_holds_but_for_the_dates_that_this_storage_lets_a_thief_choose(stage: Stage) -> None:
    """Fails as well when the storage no longer does: then the row is proven, and this test and the documents say too little."""
    result = stage.play("R3")
    assert {one.outcome for one in result.findings} <= {Outcome.CONTROL, Outcome.HELD, Outcome.BROKEN}, told(result)  # fmt: skip
    assert [one.tried for one in broken(result)] == [DATES], told(result)


def test_r1_sabotage_an_identity_that_may_delete_hides_every_object(stage: Stage) -> None:
    where = stage.ground.where
    may = {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"arn:aws:s3:::{where.bucket}/web1/*"]}  # fmt: skip
    with weak.policy(stage, "web1", may):
        result = stage.play("R1")
    assert result.verdict is Verdict.BROKEN, told(result)
    assert any("hidden: " in one.seen for one in broken(result)), told(result)


def test_r2_sabotage_where_the_lock_can_be_bypassed_versions_are_lost(stage: Stage) -> None:
    with weak.bucket(stage, lock="GOVERNANCE"):
        result = stage.play("R2")
    assert result.verdict is Verdict.BROKEN, told(result)
    assert any("gone: " in one.seen for one in broken(result)), told(result)


def test_r3_sabotage_without_versions_nothing_is_left_to_go_back_to(stage: Stage) -> None:
    with weak.bucket(stage, lock=None):
        result = stage.play("R3")
    tried = {one.tried for one in broken(result)}
    assert {
        "every version that stood is there, with its content",
        "every snapshot restores through the view of that moment, byte for byte",
    } <= tried, told(result)


def test_r4_sabotage_an_identity_with_all_rights_changes_the_bucket(stage: Stage) -> None:
    with weak.bucket(stage, lock="GOVERNANCE"):
        result = stage.play("R4")
    assert result.verdict is Verdict.BROKEN, told(result)
    assert any("settings afterwards" in one.tried for one in broken(result)), told(result)


def test_r5_sabotage_an_identity_that_sets_retention_locks_for_decades(stage: Stage) -> None:
    with weak.bucket(stage, lock="GOVERNANCE"):
        result = stage.play("R5")
    assert any("for longer" in one.tried for one in broken(result)), told(result)


@contextmanager
def note(stage: Stage, text: str) -> Iterator[None]:
    """A file that root made on the relay."""
    stage.machines.run("relay", "sh", "-c", "umask 077; cat >/root/note", stdin=text)
    try:
        yield
    finally:
        stage.machines.run("relay", "rm", "-f", "/root/note")


@contextmanager
def in_memory(stage: Stage, text: str) -> Iterator[None]:
    """A process on the relay that holds it and shows it nowhere else."""
    with subprocess.Popen(
        stage.machines.words("relay", "perl", "-e", "$w = <STDIN>; print qq(ready\\n); $| = 1; print ''; <STDIN>"),
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
    password = stage.ground.stack.outputs(secrets=True)["passwords"]["db1"]
    with place(stage, password):  # type: ignore[operator]
        result = stage.play("R6")
    assert result.verdict is Verdict.BROKEN, told(result)
    assert all("password of db1" in one.tried for one in broken(result)), told(result)
    assert password not in told(result)


def test_r7_sabotage_a_key_that_opens_a_source_is_found(stage: Stage) -> None:
    machines = stage.machines
    public = machines.shell(
        "relay", "ssh-keygen -q -t ed25519 -N '' -f /root/spare && cat /root/spare.pub"
    ).stdout
    machines.run("web1", "sh", "-c", "mkdir -p -m 700 /root/.ssh; touch /root/.ssh/authorized_keys; cp -a /root/.ssh/authorized_keys /root/kept; cat >>/root/.ssh/authorized_keys", stdin=public)  # fmt: skip
    try:
        result = stage.play("R7")
    finally:
        machines.shell("relay", "rm /root/spare /root/spare.pub")
        machines.shell("web1", "mv /root/kept /root/.ssh/authorized_keys")
    assert [one.tried for one in broken(result)] == ["no private key of the relay's opens a source"], told(result)  # fmt: skip


def test_r7_sabotage_where_the_network_lets_the_relay_through_it_reaches_a_source(stage: Stage) -> None:
    """The network's own rules gone: then the relay's firewall alone holds, and root takes it away."""
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
    assert [one.tried for one in broken(result)] == ["nor does root after taking the relay's own firewall away"], told(result)  # fmt: skip


def test_r8_sabotage_an_identity_for_the_whole_bucket_reaches_the_other_room(stage: Stage) -> None:
    with weak.policy(stage, "web1", room=""):
        result = stage.play("R8")
    tried = {one.tried for one in broken(result)}
    assert {"read", "overwrite", "copy to the own room", "nothing of the other's stands in the own room"} <= tried, told(result)  # fmt: skip


@pytest.mark.parametrize("row", ["R1", "R8"])
def test_the_row_holds_again_afterwards(stage: Stage, row: str) -> None:
    """What the sabotages changed was put back."""
    result = stage.play(row)
    assert result.verdict is Verdict.PROVEN, told(result)
