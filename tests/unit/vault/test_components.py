"""The vault's components as the engine sees them: protection, order, secrets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pulumi
import pytest

from components.vault.bucket import adoption
from components.vault.bucket.lifecycle import LARGE, Transition
from components.vault.bucket.locked_bucket import LockedBucket, LockedBucketArgs
from components.vault.identities.source_identity import SourceIdentity, SourceIdentityArgs, user_name
from tests.unit.recording import Graph, Recorded, Secret, record
from tests.unit.stacks import before
from tests.unit.vault.documents import BREAK_GLASS, BUCKET, KEY, bucket_policy, identity

SETTINGS = ("versioning", "lock", "owner", "private", "encryption", "lifecycle", "policy")
TEST = {"purpose": "test", "lock_mode": "GOVERNANCE", "lock_days": 1, "maximum_days": 7}


def arguments(**changes: Any) -> LockedBucketArgs:
    given = {
        "bucket": BUCKET,
        "region": "eu-central-1",
        "lock_mode": "COMPLIANCE",
        "lock_days": 30,
        "maximum_days": 60,
        "break_glass": BREAK_GLASS,
    }
    return LockedBucketArgs(**{**given, **changes})


def vault(sources: tuple[str, ...] = ("web1",), generation: int = 1, **changes: Any) -> Graph:
    def program() -> None:
        bucket = LockedBucket("vault", arguments(**changes))
        for source in sources:
            args = SourceIdentityArgs(
                source=source,
                bucket=BUCKET,
                prefix=f"{source}/",
                generation=generation,
                kms_key=changes.get("kms_key"),
            )
            SourceIdentity(f"{source}-identity", args, pulumi.ResourceOptions(depends_on=[bucket]))

    return record(program)


def children(graph: Graph) -> dict[str, Recorded]:
    return {r.name.removeprefix("vault-"): r for r in graph if r.parent == "vault"}


def test_every_setting_is_what_the_vault_guarantees() -> None:
    found = children(vault())
    assert set(found) == {"bucket", *SETTINGS}
    assert found["bucket"].inputs == {"bucket": BUCKET, "objectLockEnabled": True}
    assert found["versioning"].inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert found["lock"].inputs["rule"] == {"defaultRetention": {"mode": "COMPLIANCE", "days": 30}}
    assert found["owner"].inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert {key: value for key, value in found["private"].inputs.items() if key != "bucket"} == {
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert found["encryption"].inputs["rules"] == [
        {
            "applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"},
            "bucketKeyEnabled": False,
            "blockedEncryptionTypes": ["SSE-C"],
        }
    ]
    assert [rule["id"] for rule in found["lifecycle"].inputs["rules"]] == [
        "deleted-versions",
        "markers-of-nothing",
    ]
    assert json.loads(found["policy"].inputs["policy"]) == bucket_policy()
    assert {r.inputs["bucket"] for r in found.values()} == {BUCKET}


def test_the_engine_gets_the_lifecycle_in_the_providers_form() -> None:
    moves = (
        Transition(after_days=30, storage_class="STANDARD_IA"),
        Transition(after_days=90, storage_class="GLACIER_IR"),
    )
    rules = children(vault(transitions=moves, prefix="offsite/"))["lifecycle"].inputs["rules"]
    assert rules[0] == {
        "id": "deleted-versions",
        "status": "Enabled",
        "filter": {"prefix": "offsite/"},
        "noncurrentVersionExpiration": {"noncurrentDays": 31},
        "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
    }
    assert rules[1]["expiration"] == {"expiredObjectDeleteMarker": True}
    assert rules[2]["filter"] == {"and": {"prefix": "offsite/", "objectSizeGreaterThan": LARGE}}
    assert rules[2]["transitions"] == [
        {"days": 30, "storageClass": "STANDARD_IA"},
        {"days": 90, "storageClass": "GLACIER_IR"},
    ]


def test_a_given_kms_key_is_used_by_the_bucket_and_allowed_to_the_identity() -> None:
    graph = vault(kms_key=KEY)
    assert children(graph)["encryption"].inputs["rules"] == [
        {
            "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY},
            "bucketKeyEnabled": True,
            "blockedEncryptionTypes": ["SSE-C"],
        }
    ]
    assert json.loads(children(graph)["policy"].inputs["policy"]) == bucket_policy(kms_key=KEY)
    assert json.loads(graph.named("web1-identity-policy").inputs["policy"]) == identity(kms_key=KEY)


def test_the_policy_comes_last_and_no_key_exists_before_it() -> None:
    graph = vault()
    # Each of them would be refused to the deployer once the policy exists.
    assert before(graph, "vault-policy") >= {f"vault-{one}" for one in ("bucket", *SETTINGS[:-1])}
    assert before(graph, "web1-identity-key-g1") >= {"vault-policy", "vault-lock", "web1-identity-policy"}


def test_a_key_that_does_not_wait_for_the_vault_is_noticed() -> None:
    def program() -> None:
        LockedBucket("vault", arguments())
        SourceIdentity("web1-identity", SourceIdentityArgs(source="web1", bucket=BUCKET, prefix="web1/"))

    assert "vault-policy" not in before(record(program), "web1-identity-key-g1")


def test_the_bucket_is_changed_by_one_request_at_a_time() -> None:
    graph = vault()
    chain = [f"vault-{one}" for one in ("bucket", *SETTINGS)]
    for earlier, later in itertools.pairwise(chain):
        assert earlier in graph.named(later).depends_on


def test_a_production_vault_is_protected_kept_and_never_emptied() -> None:
    for origin in ("new", "adopted"):
        found = children(vault(origin=origin))
        assert all(r.protect and r.retain_on_delete for r in found.values()), origin
        assert "forceDestroy" not in found["bucket"].inputs


def test_only_a_test_vault_is_deleted_with_its_objects() -> None:
    found = children(vault(**TEST))
    assert found["bucket"].inputs["forceDestroy"] is True
    assert not any(r.protect or r.retain_on_delete for r in found.values())


@pytest.mark.parametrize(
    "change",
    [{"lock_mode": "COMPLIANCE"}, {"origin": "adopted"}],
    ids=["a lock that nobody lifts", "a bucket that was there before"],
)
def test_a_vault_that_must_not_be_destroyed_cannot_be_a_test_vault(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="may go with its objects"):
        arguments(**{**TEST, **change})


def test_an_adopted_bucket_is_imported_with_its_lock_required_and_its_tags_unchanged() -> None:
    graph = vault(origin="adopted")
    assert [token.rsplit(":", 1)[-1] for token, _ in graph.invokes] == ["getBucketObjectLockConfiguration"]
    assert graph.imports == {"vault-bucket": BUCKET}
    bucket = graph.named("vault-bucket")
    assert bucket.inputs == {"bucket": BUCKET, "objectLockEnabled": True}
    assert set(bucket.ignore_changes) == {"tags", "tagsAll", "forceDestroy"}
    assert vault().imports == {}
    assert vault().invokes == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"objectLockEnabled": ""}, "has no Object Lock"),
        ("reading S3 Bucket Object Lock Configuration: couldn't find resource", "has no Object Lock"),
        ("api error NoSuchBucket: The specified bucket does not exist", "there is no bucket"),
        ("api error AccessDenied: Access Denied", "may not be asked"),
    ],
)
def test_a_bucket_without_a_visible_lock_is_not_adopted(
    said: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the engine could plan to replace it; each with its own fix."""
    seen: list[str] = []

    def look_up(token: str, *_: Any, **__: Any) -> Any:
        seen.append(token)
        if isinstance(said, str):
            raise Exception(said)
        return type("Answer", (), {"object_lock_enabled": said["objectLockEnabled"]})()

    monkeypatch.setattr(adoption.s3, "get_bucket_object_lock_configuration", lambda **_: look_up("asked"))
    with pytest.raises(pulumi.RunError, match=told) as caught:
        vault(origin="adopted")
    assert "nothing was changed" in str(caught.value)
    assert "fix:" in str(caught.value)
    assert seen == ["asked"]


def test_an_unknown_answer_of_the_lookup_is_shown_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(**_: Any) -> Any:
        raise Exception("the weather")

    monkeypatch.setattr(adoption.s3, "get_bucket_object_lock_configuration", look_up)
    with pytest.raises(Exception, match="the weather"):
        vault(origin="adopted")


def test_adding_a_source_changes_nothing_of_the_vault_which_the_deployer_may_not_change() -> None:
    one = {
        r.name: r.inputs
        for r in vault(
            sources=("web1",), transitions=(Transition(after_days=30, storage_class="STANDARD_IA"),)
        )
    }
    two = {
        r.name: r.inputs
        for r in vault(
            sources=("web1", "db1"), transitions=(Transition(after_days=30, storage_class="STANDARD_IA"),)
        )
    }
    assert {name: two[name] for name in one} == one
    assert {name.split("-")[0] for name in two.keys() - one.keys()} == {"db1"}


def test_an_identity_is_one_user_with_its_own_prefixs_policy() -> None:
    graph = vault(sources=("web1", "db1"))
    for source in ("web1", "db1"):
        assert graph.named(f"{source}-identity-user").inputs == {
            "name": f"{source}@{BUCKET}",
            "path": "/lastcopy/",
        }
        policy = graph.named(f"{source}-identity-policy").inputs
        assert policy["user"] == f"{source}@{BUCKET}"
        assert json.loads(policy["policy"]) == identity(prefix=f"{source}/")
        assert graph.named(f"{source}-identity-key-g1").inputs == {"user": f"{source}@{BUCKET}"}


def test_a_new_generation_is_a_new_key_beside_the_old_one_and_changes_nothing_else() -> None:
    """So the engine makes it first, what needs it follows, and the old one is deleted at the end of the update."""
    first, second = vault(generation=1), vault(generation=2)
    names = [{r.name: r.inputs for r in graph} for graph in (first, second)]
    assert names[0].keys() - names[1].keys() == {"web1-identity-key-g1"}
    assert names[1].keys() - names[0].keys() == {"web1-identity-key-g2"}
    assert {n for n in names[0].keys() & names[1].keys() if names[0][n] != names[1][n]} == {"web1-identity"}
    assert not second.named("web1-identity-key-g2").delete_before_replace


def test_the_secret_key_is_secret_and_shown_nowhere() -> None:
    def program() -> None:
        args = SourceIdentityArgs(source="web1", bucket=BUCKET, prefix="web1/")
        made = SourceIdentity("web1-identity", args)
        pulumi.export("secret", made.secret_access_key)
        pulumi.export("id", made.access_key_id)

    graph = record(program)
    assert graph.exports["secret"] == Secret("secret-of-web1-identity-key-g1")
    assert graph.exports["id"] == "web1-identity-key-g1-id"
    assert "secret" in graph.named("web1-identity-key-g1").secret_outputs
    assert "secret-of" not in repr(graph.outputs) + repr([r.inputs for r in graph])


def test_user_names_are_unique_and_fit() -> None:
    assert user_name("a-b", "c") != user_name("a", "b-c")
    long = [user_name("b" * 63, "s" * 22 + end) for end in "xy"]
    assert len({*long}) == 2
    assert all(len(name) <= 64 for name in long)


def test_outputs_say_where_the_vault_is() -> None:
    graph = vault()
    assert graph.outputs["vault"] == {
        "bucketName": BUCKET,
        "arn": "arn:aws:s3:eu-central-1:123456789012:vault-bucket",
        "endpoint": "https://s3.eu-central-1.amazonaws.com",
    }
