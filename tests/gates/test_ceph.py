"""A real Ceph RGW with the bucket policy that the docs give for it: what it enforces, and what it does not.

What it does not enforce is asserted as well, so that these tests fail when another version does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.vault.identities import ceph_policy
from components.vault.identities.identity_policy import identity_policy
from tests.ceph import Ceph
from tests.enforced import attacks
from tests.enforced.servers import Identity, s3_client
from tests.enforced.vault import LOCK, OBJECTS, Calls, Vault, all_tried, damage, tried

REFUSED = {"AccessDenied", "403"}
# Calls that Ceph 16.2.15 does not know: it treats them as something else, which it refuses.
UNKNOWN = {"replication": "MethodNotAllowed", "encryption": "InvalidArgument", "ownership": "InvalidArgument"}
# A write can set a retention and a legal hold, without a separate right for that (R5).
LOCKED_AT_WILL = {"write", "write in parts", "copy"}
LISTINGS = {f"list {prefix!r}" for prefix in ("", "db1", "db1/", "db1/g1/", "web", "web1", "web10/")} | {
    "list all"
}

Attack = Callable[[Any, Vault], Calls]


@pytest.fixture(scope="module")
def users(ceph: Ceph) -> dict[str, Identity]:
    return {name: ceph.add_user(name) for name in ("web1", "db1", "careless")}


@pytest.fixture(scope="module")
def backups(ceph: Ceph, users: dict[str, Identity]) -> Vault:
    """A locked bucket with the documented policy, with objects that web1 and db1 wrote themselves: here the writer of an object owns it."""
    made = Vault(ceph, "backups")
    ceph.make_bucket(made.bucket, "GOVERNANCE", 1)
    ceph.set_policy(made.bucket, documented(ceph, made.bucket))
    fill(made, users)
    return made


def documented(ceph: Ceph, bucket: str) -> dict[str, Any]:
    sources = {name: ceph.arn(name) for name in ("web1", "db1")}
    return ceph_policy.ceph_bucket_policy(bucket, sources, ceph.arn("root"))


def fill(vault: Vault, users: dict[str, Identity]) -> None:
    for name in ("web1", "db1"):
        s3 = vault.server.client(users[name])
        for key in (*OBJECTS, LOCK):
            s3.put_object(Bucket=vault.bucket, Key=f"{name}/{key}", Body=f"{name} {key}".encode())


@pytest.fixture(scope="module")
def web1(ceph: Ceph, users: dict[str, Identity]) -> Any:
    return ceph.client(users["web1"])


Tried = dict[str, dict[str, str]]


def attacked(s3: Any, vault: Vault, *which: Attack) -> tuple[Tried, list[str]]:
    """The attempts that were not refused, by the code of the answer; and the damage of all together."""
    before = vault.state()
    found = {
        attack.__name__: {
            name: code for name, code in all_tried(attack(s3, vault)).items() if code not in REFUSED
        }
        for attack in which
    }
    return found, damage(before, vault.state())


@pytest.fixture(scope="module")
def attack(backups: Vault, web1: Any) -> tuple[Tried, list[str]]:
    """All attempts of whoever stole web1's identity. It runs after the tests that need web1's objects unchanged."""
    return attacked(
        web1,
        backups,
        attacks.r1_delete_every_object,
        attacks.r2_undo_the_lock,
        attacks.r4_change_the_bucket,
        attacks.r8_reach_into,
        attacks.r5_lock_for_decades,
    )


def test_a_source_works_below_its_own_prefix(backups: Vault, web1: Any) -> None:
    bucket, new = backups.bucket, {"Bucket": backups.bucket, "Key": "web1/g1/data/cd/new"}
    calls = {
        "missing": lambda: web1.head_object(Bucket=bucket, Key="web1/g1/data/cd/missing"),
        "list": lambda: web1.list_objects_v2(Bucket=bucket, Prefix="web1/g1/"),
        "read": lambda: web1.get_object(Bucket=bucket, Key=f"web1/{OBJECTS[0]}"),
        "write": lambda: web1.put_object(**new, Body=b"x"),
        "abort": lambda: web1.abort_multipart_upload(
            **new, UploadId=web1.create_multipart_upload(**new)["UploadId"]
        ),
        "unlock": lambda: web1.delete_object(Bucket=bucket, Key=f"web1/{LOCK}"),
        "versioning": lambda: web1.get_bucket_versioning(Bucket=bucket),
        "lock": lambda: web1.get_object_lock_configuration(Bucket=bucket),
    }
    assert all_tried(calls) == {**dict.fromkeys(calls, "done"), "missing": "404"}
    assert backups.server.root.get_object(**new)["Body"].read() == b"x", (
        "the owner can read what a source wrote"
    )


def test_a_condition_on_the_prefix_makes_a_missing_name_forbidden(
    ceph: Ceph, users: dict[str, Identity]
) -> None:
    """The sabotage: the policy for AWS. Listing works, but a missing name is 403, which does not tell restic that the name is new."""
    ceph.root.create_bucket(Bucket="conditioned")
    policy = copy.deepcopy(
        ceph_policy.ceph_bucket_policy("conditioned", {"web1": ceph.arn("web1")}, ceph.arn("root"))
    )
    own = identity_policy("conditioned", "web1/")["Statement"]
    (condition,) = [one["Condition"] for one in own if one["Action"] == ["s3:ListBucket"]]
    (listing,) = [one for one in policy["Statement"] if one["Action"] == ["s3:ListBucket"]]
    listing["Condition"] = condition
    ceph.set_policy("conditioned", policy)
    s3 = ceph.client(users["web1"])
    assert tried(lambda: s3.list_objects_v2(Bucket="conditioned", Prefix="web1/")) == "done"
    assert tried(lambda: s3.list_objects_v2(Bucket="conditioned", Prefix="db1/")) == "AccessDenied"
    assert tried(lambda: s3.head_object(Bucket="conditioned", Key="web1/g1/config")) == "403"


def test_r1_r2_r4_no_object_is_hidden_no_lock_is_removed_and_the_bucket_stays_unchanged(
    attack: tuple[Tried, list[str]],
) -> None:
    found, harm = attack
    assert harm == []
    assert found["r1_delete_every_object"] == {}
    assert found["r2_undo_the_lock"] == {"write with a hold": "done"}
    assert found["r4_change_the_bucket"] == UNKNOWN


def test_r5_is_not_met_a_writer_can_lock_for_decades(attack: tuple[Tried, list[str]], backups: Vault) -> None:
    found, _ = attack
    assert found["r5_lock_for_decades"] == dict.fromkeys(LOCKED_AT_WILL, "done")
    assert backups.latest_lock().days > 9000


def test_r8_another_prefix_reveals_only_its_names(attack: tuple[Tried, list[str]]) -> None:
    """The price of 404: names of objects are visible, but nothing can be read, written or deleted."""
    found, _ = attack
    assert found["r8_reach_into"] == dict.fromkeys(LISTINGS, "done")


def without(policy: dict[str, Any], effect: str) -> dict[str, Any]:
    """The policy without the denials of an owner's rights; or with all rights for web1 in place of its own."""
    kept = copy.deepcopy(policy)
    kept["Statement"] = [
        one for one in kept["Statement"] if one["Action"] != list(ceph_policy.OWNERS_ACTIONS)
    ]
    if effect == "all limits":
        owner, *rest = kept["Statement"]
        kept["Statement"] = [owner, {**owner, "Principal": rest[0]["Principal"]}]
    return kept


@pytest.mark.parametrize("weak", ["the denials", "all limits"])
def test_r1_r2_sabotage_the_writer_of_an_object_removes_its_lock(
    ceph: Ceph, users: dict[str, Identity], web1: Any, weak: str
) -> None:
    made = Vault(ceph, f"weak{len(weak)}")
    ceph.make_bucket(made.bucket, "GOVERNANCE", 1)
    ceph.set_policy(made.bucket, documented(ceph, made.bucket))
    fill(made, users)
    ceph.set_policy(made.bucket, without(documented(ceph, made.bucket), weak))
    _, harm = attacked(web1, made, attacks.r2_undo_the_lock, attacks.r1_delete_every_object)
    undone = {line.split()[1] for line in harm if not line.startswith("hidden")}
    assert undone >= set(attacks.MINE), "shortened or removed"
    assert [line.startswith("hidden") for line in harm].count(True) == (
        len(OBJECTS) if weak == "all limits" else 0
    )


def test_r2_compliance_keeps_every_version_without_any_policy(ceph: Ceph) -> None:
    made = Vault.make(ceph, "compliance", mode="COMPLIANCE")
    _, harm = attacked(ceph.root, made, attacks.r2_undo_the_lock)
    assert [line for line in harm if line.startswith("lost: ")] == []


def test_s5_a_condition_works_only_in_a_bucket_without_versions(
    ceph: Ceph, backups: Vault, web1: Any
) -> None:
    """So what a service reportedly does in a bucket without versions says nothing about the buckets of lastcopy."""
    again = [
        tried(
            lambda: web1.put_object(
                Bucket=backups.bucket, Key="web1/g1/data/cd/twice", Body=b"x", IfNoneMatch="*"
            )
        )
        for _ in "12"
    ]
    ceph.root.create_bucket(Bucket="unversioned")
    plain = [
        tried(lambda: ceph.root.put_object(Bucket="unversioned", Key="twice", Body=b"x", IfNoneMatch="*"))
        for _ in "12"
    ]
    assert (again, plain) == (["done", "done"], ["done", "PreconditionFailed"])


def test_a_checksum_after_the_body_is_refused_and_one_before_it_is_verified(
    ceph: Ceph, backups: Vault, users: dict[str, Identity], web1: Any
) -> None:
    modern = s3_client(ceph.endpoint, ceph.ca, users["web1"].access_key, users["web1"].secret_key)
    with pytest.raises(ClientError) as trailer:
        modern.put_object(Bucket=backups.bucket, Key="web1/g1/data/cd/trailer", Body=b"x")
    assert trailer.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 411)
    wrong = {
        "Bucket": backups.bucket,
        "Key": "web1/g1/data/cd/damaged",
        "Body": b"x",
        "ContentMD5": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert tried(lambda: web1.put_object(**wrong)) == "BadDigest"
