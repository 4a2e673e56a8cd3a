"""The AWS stack with the real engine: created, unchanged, used, changed step by step, its keys and its machine replaced.

The tests depend on one another, in this order; `test_zz_destroy` is the last. What the account is here, and what it is not: `tests/aws/double`.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest

from ops.hosts.machines import MachineError
from tests.aws.document import BUILD, IN_SHORT, day_2
from tests.aws.stack import BUCKET, AwsStack, steps
from tests.aws.world import DOCS_REGION

VM = "aws:ec2/instance:Instance"


@pytest.fixture(scope="module")
def tree(aws: AwsStack) -> str:
    """The digest of web1's tree, which is in one backup: made by following chapter 5 of the document."""
    made = aws.fill("web1")
    aws.reader.follow(BUILD)
    return made


def keys(aws: AwsStack, source: str) -> list[str]:
    listed = aws.account.client("iam").list_access_keys(UserName=f"{source}@{BUCKET}")
    return [one["AccessKeyId"] for one in listed["AccessKeyMetadata"]]


def user_data(aws: AwsStack, instance: str) -> str:
    """The user data, as anybody with access to EC2 can read it."""
    ec2 = aws.account.client("ec2", region=DOCS_REGION)
    found = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    return base64.b64decode(found["UserData"]["Value"]).decode()


def test_one_up_creates_everything_in_an_empty_account(aws: AwsStack) -> None:
    assert len(aws.relays()) == 1
    outputs = aws.outputs()
    assert outputs["relay"]["address"].endswith(".200"), "not the Elastic IP"
    lock = aws.account.client("s3", region=DOCS_REGION).get_object_lock_configuration(Bucket=BUCKET)
    assert lock["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"


def test_the_document_ends_with_a_backup_that_restores_byte_for_byte(aws: AwsStack, tree: str) -> None:
    """Chapter 5; its `pulumi up` finds the trial's stack and changes nothing."""
    assert steps(aws.reader.ended(BUILD, "pulumi up")) == set()
    password = json.loads(aws.reader.said(BUILD, "pulumi stack output passwords"))["web1"]
    assert aws.machines.run("web1", "cat", "/etc/lastcopy/password").stdout == password
    (snapshot,) = aws.snapshots("web1")
    assert snapshot["short_id"] in aws.reader.said(BUILD, "ssh admin@web1 sudo restic-backup snapshots")
    assert aws.digest("web1", "/var/tmp/try/srv/data") == tree


def test_new_objects_are_locked(aws: AwsStack, tree: str) -> None:  # noqa: ARG001
    """By the bucket's default retention: the relay asks for no lock."""
    with aws.storage() as client:
        packs = list(client.list_objects(BUCKET, prefix="web1/g1/data/", recursive=True))
        assert packs
        assert client.get_object_retention(BUCKET, packs[0].object_name).mode == "GOVERNANCE"


def test_no_secret_of_aws_is_stored_in_plain_text(aws: AwsStack) -> None:
    """A2: neither in the engine's output nor in its state; and the key in the user data no longer works."""
    told = user_data(aws, aws.relays()[0])
    state = aws.shell.run("pulumi stack export").ok().out
    shown = aws.shell.run("pulumi stack export --show-secrets").ok().out
    resources = json.loads(shown)["deployment"]["resources"]
    secrets = [
        r["outputs"]["secret"]["plaintext"].strip('"') for r in resources if r["type"].endswith(":AccessKey")
    ]
    assert len(secrets) == 1
    private = told.split("-----BEGIN EC PRIVATE KEY-----")[1].split()[0]
    for secret in (*secrets, private):
        assert secret in shown  # otherwise the search below could find nothing
        assert secret not in state
        assert secret not in aws.first_up.out + aws.first_up.err
    there = aws.machines.shell(aws.relays()[0], "cat /etc/ssh/ssh_host_*_key").stdout
    assert private not in there
    offered = aws.machines.shell(aws.relays()[0], "ls /etc/ssh/ssh_host_*_key").stdout.split()
    assert offered == ["/etc/ssh/ssh_host_ed25519_key"]


def test_the_deploying_role_can_add_a_source(aws: AwsStack) -> None:
    """And change a network: the vault and the first source are not touched."""
    command, role = day_2("add a source, change paths, schedule, networks")
    aws.add_source("db1")
    aws.change("intermediate.ec2.adminsFrom", ["203.0.113.0/25"])
    aws.become(role)
    done = steps(aws.shell.run(command).ok())
    assert ("updated", "relay-machine-doors") in done
    assert ("created", "vault-identity-db1-user") in done
    assert not {name for _, name in done if name.startswith(("web1", "vault-identity-web1"))}
    assert not {"vault-bucket", "vault-policy", "vault-lock", "vault-lifecycle"} & {name for _, name in done}


def test_only_break_glass_changes_the_lock(aws: AwsStack) -> None:
    """Each change touches only its own resource."""
    command, role, session = day_2(
        "change lock, storage classes or break-glass, or bring in a new version's bucket policy"
    )
    assert role in session
    aws.become(role)
    aws.change("storage.aws.storageClasses", [{"afterDays": 30, "class": "STANDARD_IA"}])
    aws.change("storage.aws.lock.maximumDays", 6)
    done = steps(aws.shell.run(command).ok())
    assert done == {("updated", "vault-lifecycle"), ("updated", "vault-policy")}


def test_a_key_is_rotated_without_a_gap(aws: AwsStack, tree: str) -> None:
    """One number changes. Sessions with the old key are ended, so that none hangs; every backup meanwhile succeeds, at the latest in its
    service's own next try; then the old key no longer works, and no other key has changed."""
    (old,), others = keys(aws, "web1"), keys(aws, "db1")
    key, command = day_2("rotate a source's storage key")
    aws.change(key, 2)
    done: list[Any] = []
    up = threading.Thread(target=lambda: done.append(aws.shell.run(command)))
    backups, before = 0, len(aws.snapshots("web1"))
    with aws.long_backup("web1") as session:
        up.start()
        while up.is_alive():
            aws.backup_in_the_end("web1")
            backups += 1
        up.join()
        done[0].ok()
        # Without the cut restic tries the dead key for a quarter of an hour.
        assert session.wait(timeout=60) != 0
    assert backups >= 1
    (new,) = keys(aws, "web1")
    assert new != old
    assert keys(aws, "db1") == others
    assert new in aws.storage_keys()
    assert old not in aws.storage_keys()
    aws.backup("web1")
    # Sessions are cut once: at most one backup had written its snapshot by then, and is made once more.
    assert len(aws.snapshots("web1")) - (before + backups + 1) in (0, 1)
    assert aws.restored("web1") == tree


def test_a_quota_that_prevents_a_new_machine_leaves_the_old_one_in_service(aws: AwsStack) -> None:
    """The error contains AWS's message once; sources notice nothing."""
    old = aws.relays()
    (key, _) = day_2("replace the relay's machine")
    aws.change(key, 2)
    aws.fault({VM: ("VcpuLimitExceeded", "You have requested more vCPU capacity than your current limit.")})
    failed = aws.shell.run("pulumi up --skip-preview")
    aws.fault({})
    assert failed.code != 0
    assert failed.out.split("Diagnostics:")[1].count("VcpuLimitExceeded") == 1
    assert aws.relays() == old
    aws.backup("web1")


def test_one_number_replaces_the_machine_and_sources_go_on(aws: AwsStack, tree: str) -> None:
    """The address stays, the host key changes, earlier backups can be restored, and no repository is initialised again."""
    old, before = aws.relays(), aws.outputs()
    (_, command) = day_2("replace the relay's machine")
    aws.shell.run(command).ok()
    after = aws.outputs()
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
    # The short form ends in the same way; its stack `prod` has no machines here, so it runs on this one.
    *_, last = IN_SHORT.commands()
    assert steps(aws.reader.run(last)) == set()


def test_another_machine_at_the_relays_address_is_not_trusted(aws: AwsStack) -> None:
    """A1, sabotage of the test above: the address leads to another machine, and sources do not talk to it."""
    aws.impostor()
    try:
        said = aws.machines.run("web1", "restic-backup", "snapshots", check=False)
        assert said.returncode != 0
        assert "Host key verification failed" in said.stdout + said.stderr
        with pytest.raises(MachineError):
            aws.backup("web1")
    finally:
        aws.impostor_gone()
    aws.backup("web1")
