"""The AWS stack through the real engine: made from nothing, idle, used, changed piece by piece, its keys and its machine replaced.

The tests build on one another, in this order; `test_zz_destroy` is the last. What the account is here, and what it is not: `tests/aws/double`.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest

from ops.machines import CommandFailed
from tests.aws.stack import BUCKET, AwsStack
from tests.integration.checkout import Change

VM = "aws:ec2/instance:Instance"


@pytest.fixture(scope="module")
def tree(aws: AwsStack) -> str:
    """The digest of web1's tree, which one backup holds."""
    made = aws.fill("web1")
    aws.backup("web1")
    return made


def keys(aws: AwsStack, source: str) -> list[str]:
    listed = aws.account.client("iam").list_access_keys(UserName=f"{source}@{BUCKET}")
    return [one["AccessKeyId"] for one in listed["AccessKeyMetadata"]]


def user_data(aws: AwsStack, instance: str) -> str:
    """As whoever may ask EC2 for it reads it."""
    ec2 = aws.account.client("ec2")
    found = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    return base64.b64decode(found["UserData"]["Value"]).decode()


def kinds(changes: set[Change]) -> set[tuple[str, str]]:
    return {(change.op, change.name) for change in changes}


def test_one_up_makes_everything_from_nothing_but_an_account(aws: AwsStack) -> None:
    assert aws.first_up.returncode == 0
    assert len(aws.relays()) == 1
    outputs = aws.running.stack.outputs()
    assert outputs["relay"]["address"].endswith(".200"), "not the Elastic IP"
    lock = aws.account.client("s3").get_object_lock_configuration(Bucket=BUCKET)
    assert lock["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"


def test_a_second_preview_has_no_changes(aws: AwsStack) -> None:
    aws.running.preview("--expect-no-changes")


def test_a_backup_through_the_relay_restores_byte_for_byte(aws: AwsStack, tree: str) -> None:
    assert len(aws.snapshots("web1")) == 1
    assert aws.restored("web1") == tree


def test_what_is_written_is_under_lock(aws: AwsStack, tree: str) -> None:  # noqa: ARG001
    """By the bucket's default retention: the relay asks for nothing."""
    with aws.storage() as client:
        packs = list(client.list_objects(BUCKET, prefix="web1/g1/data/", recursive=True))
        assert packs
        assert client.get_object_retention(BUCKET, packs[0].object_name).mode == "GOVERNANCE"


def test_no_secret_of_aws_stands_in_plain(aws: AwsStack) -> None:
    """A2: neither in what the engine printed nor in its state; and what user data tell opens nothing any more."""
    told = user_data(aws, aws.relays()[0])
    state = aws.running.stack.run("stack", "export", "--stack", aws.running.stack.name, quiet=True).stdout
    shown = aws.running.stack.run(
        "stack", "export", "--stack", aws.running.stack.name, "--show-secrets", quiet=True
    ).stdout
    resources = json.loads(shown)["deployment"]["resources"]
    secrets = [
        r["outputs"]["secret"]["plaintext"].strip('"') for r in resources if r["type"].endswith(":AccessKey")
    ]
    assert len(secrets) == 2
    private = told.split("-----BEGIN EC PRIVATE KEY-----")[1].split()[0]
    for secret in (*secrets, private):
        assert secret in shown  # the test knows what to look for
        assert secret not in state
        assert secret not in aws.first_up.stdout + aws.first_up.stderr
    there = aws.machines.shell(aws.relays()[0], "cat /etc/ssh/ssh_host_*_key").stdout
    assert private not in there
    offered = aws.machines.shell(aws.relays()[0], "ls /etc/ssh/ssh_host_*_key").stdout.split()
    assert offered == ["/etc/ssh/ssh_host_ed25519_key"]


def test_a_change_touches_its_own_resource_only(aws: AwsStack) -> None:
    aws.change("storage.aws.storageClasses", [{"afterDays": 30, "class": "STANDARD_IA"}])
    aws.change("storage.aws.lock.maximumDays", 6)
    aws.change("intermediate.ec2.adminsFrom", ["203.0.113.0/25"])
    assert kinds(aws.running.changes()) == {
        ("update", "vault-lifecycle"),
        ("update", "vault-policy"),
        ("update", "relay-machine-doors"),
    }


def test_a_key_is_rotated_without_a_gap(aws: AwsStack, tree: str) -> None:
    """One number changes; a session with the old key is cut, not left to starve; every backup meanwhile succeeds, at the latest by its
    service's own next try; the old key then opens nothing, and nobody else's changed."""
    (old,), others = keys(aws, "web1"), keys(aws, "db1")
    aws.change("sources.0.identityGeneration", 2)
    done: list[Any] = []
    up = threading.Thread(target=lambda: done.append(aws.running.up(check=False)))
    backups, before = 0, len(aws.snapshots("web1"))
    with aws.long_backup("web1") as session:
        up.start()
        while up.is_alive():
            aws.backup_in_the_end("web1")
            backups += 1
        up.join()
        assert done[0].returncode == 0, done[0].stdout
        # Without the cut restic tries the dead key for a quarter of an hour.
        assert session.wait(timeout=60) != 0
    assert backups >= 1
    (new,) = keys(aws, "web1")
    assert new != old
    assert keys(aws, "db1") == others
    assert new in aws.storage_keys()
    assert old not in aws.storage_keys()
    aws.backup("web1")
    # Sessions are cut once: at most one backup had its snapshot written by then, and is made once more.
    assert len(aws.snapshots("web1")) - (before + backups + 1) in (0, 1)
    assert aws.restored("web1") == tree


def test_a_quota_that_stops_a_new_machine_leaves_the_old_one_serving(aws: AwsStack) -> None:
    """The error names what AWS said, once; sources notice nothing."""
    old = aws.relays()
    aws.change("intermediate.ec2.generation", 2)
    aws.fault({VM: ("VcpuLimitExceeded", "You have requested more vCPU capacity than your current limit.")})
    failed = aws.running.up(check=False)
    aws.fault({})
    assert failed.returncode != 0
    assert failed.stdout.split("Diagnostics:")[1].count("VcpuLimitExceeded") == 1
    assert aws.relays() == old
    aws.backup("web1")


def test_the_machine_is_replaced_by_one_number_and_sources_go_on(aws: AwsStack, tree: str) -> None:
    """The address stays, the host key is another one, what was backed up before restores; nothing is initialised anew."""
    old, before = aws.relays(), aws.running.stack.outputs()
    aws.running.up()
    after = aws.running.stack.outputs()
    assert len(aws.relays()) == 1
    assert aws.relays() != old
    assert after["relay"]["address"] == before["relay"]["address"]
    assert after["relay"]["hostKey"] != before["relay"]["hostKey"]
    assert after["sources"] == before["sources"]
    count = len(aws.snapshots("web1"))
    aws.backup("web1")
    aws.fill("db1")  # a backup of nothing fails
    aws.backup("db1")
    assert len(aws.snapshots("web1")) == count + 1
    assert aws.restored("web1") == tree
    aws.running.preview("--expect-no-changes")


def test_a_machine_that_took_the_address_is_not_trusted(aws: AwsStack) -> None:
    """A1, sabotage of the row above: the address leads to another machine; sources do not talk to it."""
    aws.impostor()
    try:
        said = aws.machines.run("web1", "restic-backup", "snapshots", check=False)
        assert said.returncode != 0
        assert "Host key verification failed" in said.stdout + said.stderr
        with pytest.raises(CommandFailed):
            aws.backup("web1")
    finally:
        aws.impostor_gone()
    aws.backup("web1")
