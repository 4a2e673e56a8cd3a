"""R1, R2, R4, R5: an attacker with the relay's storage identity, or with all S3 rights but not break-glass, cannot harm the vault.

There are two attackers, each bound by only one of the two documents, so that each document is proven by itself:

| attacker | rights | bound by |
| --- | --- | --- |
| relay | components/vault/identities/identity_policy.py | that identity policy; the bucket has no policy |
| admin | s3:* on everything | components/vault/bucket/bucket_policy.py |

The bucket's lock is GOVERNANCE here, the mode that can be bypassed, so that the document must refuse, not the mode. After each attack
the storage's own root compares every version, content, retention, hold, delete marker and setting with those before.

A server cannot refuse what it does not know: NOT_KNOWN lists it, and the tests fail when the list is outdated. Between the two servers every call of R4
is refused except those on the public access block, which neither knows. For the parts of the documents that a server does not accept, see
test_statements.py. All of this is how these two servers interpret the documents, not necessarily AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.enforced import attacks, documents
from tests.enforced.conftest import Make
from tests.enforced.servers import Server
from tests.enforced.vault import LOCK, Calls, Vault, all_tried, damage, tried

Attack = Callable[[Any, Vault], Calls]
# Error codes of a refusal by policy. An answer to HEAD has no body, so its code is the bare number.
REFUSED = {"AccessDenied", "403"}
_WRITES = {"lifecycle", "replication", "encryption"}
_PUBLIC = {"public access", "no public access block"}
NOT_KNOWN = {
    "versitygw": {*_WRITES, *(f"no {name}" for name in _WRITES), *_PUBLIC},  # 501
    "minio": {"ownership", *_PUBLIC},  # treats them as a PUT or DELETE of the bucket itself
}


WHO = pytest.mark.parametrize("who", ["relay", "admin"])


def attacker(vault: Vault, who: str) -> Any:
    identity = vault.relay() if who == "relay" else vault.careless(documents.guard(vault.bucket))
    return vault.server.client(identity)


def refused_and_unharmed(vault: Vault, s3: Any, attack: Attack) -> None:
    server, before = vault.server.name, vault.state()
    answers = all_tried(attack(s3, vault))
    wrong = {}
    for name, code in answers.items():
        # minio checks the lock before the policy unless a bypass is requested.
        locked = (
            server == "minio"
            and code == "InvalidRequest"
            and re.match(r"(shorten|delete version) \d+$", name)
        )
        if code not in REFUSED and not locked:
            wrong[name] = code
    assert set(wrong) <= NOT_KNOWN[server], wrong
    assert set(wrong.values()) <= {"NotImplemented", "MalformedXML"}
    assert vault.state() == before


def harm(vault: Vault, policy: documents.Document | None, attack: Attack) -> list[str]:
    """The harm that the attack does to a vault with the bucket policy `policy`, by somebody with all rights."""
    s3 = vault.server.client(vault.careless(policy))
    before = vault.state()
    all_tried(attack(s3, vault))
    return damage(before, vault.state())


def weakened(made: Vault, weak: str) -> documents.Document | None:
    """'no documents', or the bucket policy without the statements in `weak`."""
    if weak == "no documents":
        return None
    policy = documents.guard(made.bucket)
    for sid in weak.removeprefix("without ").split(" and "):
        policy = documents.without(policy, sid)
    return policy


@WHO
def test_r1_no_object_is_deleted(server: Server, vault: Make, who: str) -> None:
    refused_and_unharmed(made := vault(server), attacker(made, who), attacks.r1_delete_every_object)


@WHO
def test_r1_restics_locks_can_be_deleted_and_keep_their_versions(
    server: Server, vault: Make, who: str
) -> None:
    """Without this no backup could end; nothing else can be hidden."""
    made = vault(server)
    s3, before = attacker(made, who), made.state()
    assert tried(lambda: s3.delete_object(Bucket=made.bucket, Key=f"web1/{LOCK}")) == "done"
    after = made.state()
    assert damage(before, after) == []
    assert set(after) - set(before) == {f"marker web1/{LOCK}"}


@pytest.mark.parametrize("weak", ["no documents", "without OnlyResticLocksAreDeleted"])
def test_r1_sabotage_objects_are_hidden(server: Server, vault: Make, weak: str) -> None:
    made = vault(server)
    lost = harm(made, weakened(made, weak), attacks.r1_delete_every_object)
    assert lost == sorted(f"hidden: marker {key}" for key in attacks.MINE)


@WHO
def test_r2_no_version_is_deleted_and_no_lock_is_shortened(server: Server, vault: Make, who: str) -> None:
    refused_and_unharmed(made := vault(server), attacker(made, who), attacks.r2_undo_the_lock)


@pytest.mark.parametrize(
    "weak",
    # minio also checks s3:DeleteObject when a version is deleted
    ["no documents", "without OnlyBreakGlassChangesVersionsAndLocks and OnlyResticLocksAreDeleted"],
)
def test_r2_sabotage_versions_are_lost(server: Server, vault: Make, weak: str) -> None:
    made = vault(server)
    lost = harm(made, weakened(made, weak), attacks.r2_undo_the_lock)
    for key in attacks.MINE:
        assert [line for line in lost if line.startswith(f"lost: {key} ")]


def test_r2_compliance_keeps_every_version_without_any_document(server: Server, vault: Make) -> None:
    """The lock itself holds even if policies fail: with all rights, including bypass, nothing is lost."""
    made = vault(server, mode="COMPLIANCE")
    assert [line for line in harm(made, None, attacks.r2_undo_the_lock) if line.startswith("lost: ")] == []


@WHO
def test_r4_the_bucket_stays_unchanged(server: Server, vault: Make, who: str) -> None:
    refused_and_unharmed(made := vault(server), attacker(made, who), attacks.r4_change_the_bucket)


@pytest.mark.parametrize("weak", ["no documents", "without OnlyBreakGlassChangesTheBucket"])
def test_r4_sabotage_the_bucket_is_changed(server: Server, vault: Make, weak: str) -> None:
    made = vault(server)
    lost = harm(made, weakened(made, weak), attacks.r4_change_the_bucket)
    expected = {
        "versitygw": ["bucket_acl", "bucket_ownership_controls", "object_lock_configuration"],
        "minio": ["bucket_lifecycle_configuration", "bucket_policy", "object_lock_configuration"],
    }
    assert {f"changed: setting {name}" for name in expected[server.name]} <= set(lost)


@WHO
def test_r5_nothing_is_locked_for_decades(server: Server, vault: Make, who: str) -> None:
    made = vault(server)
    refused_and_unharmed(made, attacker(made, who), attacks.r5_lock_for_decades)
    assert made.latest_lock().days <= 1


@pytest.mark.parametrize(
    "weak", ["no documents", "without OnlyBreakGlassChangesVersionsAndLocks and NoLockBeyondTheCap"]
)
def test_r5_sabotage_decades_are_locked(server: Server, vault: Make, weak: str) -> None:
    made = vault(server)
    harm(made, weakened(made, weak), attacks.r5_lock_for_decades)
    assert made.latest_lock().days > 9000
