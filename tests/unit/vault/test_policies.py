"""The vault's documents: reviewed word for word, linted, and evaluated. Tests fail for a widened document.

After a wanted change: LASTCOPY_WRITE_GOLDEN=1 python -m pytest tests/unit/vault
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.aws_rules import MOST_PREFIX
from components.vault.bucket.bucket_policy import GUARDED_BUCKET_ACTIONS, GUARDED_OBJECT_ACTIONS
from components.vault.bucket.lifecycle import Transition, lifecycle
from components.vault.identities.identity_policy import identity_policy
from components.vault.policy_documents import Document
from tests.unit.vault.documents import ARN, BREAK_GLASS, BUCKET, DEPLOYER, KEY, bucket_policy, identity
from tests.unit.vault.iam import effects, problems
from tests.unit.vault.promises import LOCK, PACK, REFUSED, broken, put

GOLDEN = Path(__file__).parent / "golden"
DOCUMENTS: dict[str, Callable[[], Any]] = {
    "bucket-policy.json": bucket_policy,
    "bucket-policy-kms-test.json": lambda: bucket_policy(kms_key=KEY, mode="GOVERNANCE", maximum_days=7),
    "identity.json": identity,
    "identity-kms.json": lambda: identity(prefix="offsite/web1/", kms_key=KEY),
    "lifecycle.json": lambda: lifecycle(lock_days=30),
    "lifecycle-classes.json": lambda: lifecycle(
        lock_days=30,
        prefix="offsite/",
        transitions=[
            Transition(after_days=30, storage_class="STANDARD_IA"),
            Transition(after_days=90, storage_class="GLACIER_IR"),
        ],
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_is_as_reviewed(name: str) -> None:
    text = json.dumps(DOCUMENTS[name](), indent=2) + "\n"
    if os.environ.get("LASTCOPY_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(DOCUMENTS)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not name.startswith("lifecycle")])
def test_the_linter_finds_nothing(name: str) -> None:
    assert problems(DOCUMENTS[name](), name.partition("-")[0].removesuffix(".json")) == []


def test_only_break_glass_can_weaken_the_vault_and_backups_work() -> None:
    assert list(broken(bucket_policy(), deny=True)) == []


def test_an_identity_can_only_reach_its_prefix() -> None:
    assert list(broken(identity(), deny=False)) == []


def test_no_pack_folder_is_written_as_an_object() -> None:
    """`g1/data/ab` as an object hides the packs below it on servers whose listings stop there."""
    assert effects(identity(), "s3:PutObject", f"{ARN}/web1/g1/data/ab", {}) == {"Allow", "Deny"}
    assert effects(identity(), "s3:PutObject", f"{ARN}/web1/g1/data/ab/abc", {}) == {"Allow"}


# ---- sabotage: each way to widen a document is noticed


def statement(document: Document, sid: str) -> Any:
    return next(one for one in document["Statement"] if one["Sid"] == sid)


SIDS = [one["Sid"] for one in bucket_policy()["Statement"]]


@pytest.mark.parametrize("sid", SIDS)
def test_a_bucket_policy_without_one_of_its_statements_is_noticed(sid: str) -> None:
    document = bucket_policy()
    document["Statement"].remove(statement(document, sid))
    assert list(broken(document, deny=True))


@pytest.mark.parametrize("action", [*GUARDED_BUCKET_ACTIONS, *GUARDED_OBJECT_ACTIONS])
def test_a_bucket_policy_that_forgets_one_action_is_noticed(action: str) -> None:
    document = bucket_policy()
    for one in document["Statement"]:
        one["Action"] = [kept for kept in one["Action"] if kept != action]
    assert {request.action for request in broken(document, deny=True)} == {action}


WIDENED: dict[str, Callable[[Any], object]] = {
    "every role is spared": lambda d: statement(d, "OnlyBreakGlassChangesTheBucket")["Condition"].update(
        StringNotEquals={"aws:PrincipalArn": [BREAK_GLASS, DEPLOYER]}
    ),
    "a wildcard is spared": lambda d: statement(d, "OnlyBreakGlassChangesVersionsAndLocks").update(
        Condition={"StringNotEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/*"}}
    ),
    "one principal is bound, not all": lambda d: statement(d, "TlsOnly").pop("Principal"),
    "everything may be deleted": lambda d: statement(d, "OnlyResticLocksAreDeleted").update(
        NotResource=[f"{ARN}/*"]
    ),
    "another bucket is guarded": lambda d: statement(d, "OnlyBreakGlassChangesTheBucket").update(
        Resource=[f"{ARN}2"]
    ),
    "the cap is higher": lambda d: statement(d, "NoLockBeyondTheCap")["Condition"].update(
        NumericGreaterThan={"s3:object-lock-remaining-retention-days": "36500"}
    ),
    "an Allow slipped in": lambda d: d["Statement"].append(
        {"Sid": "X", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{ARN}/*"}
    ),
    "an action that AWS does not have": lambda d: statement(d, "TlsOnly").update(Action=["s3:PutVersioning"]),
    "a condition that the action is never asked with": lambda d: statement(
        d, "OnlyResticLocksAreDeleted"
    ).update(Condition={"Null": {"s3:if-none-match": "true"}}),
    "an object action on the bucket": lambda d: statement(d, "NoOtherKey").update(Resource=[ARN]),
    "too long": lambda d: statement(d, "TlsOnly").update(Resource=[f"{ARN}/{n:0100}" for n in range(200)]),
}


@pytest.mark.parametrize("what", WIDENED)
def test_a_widened_bucket_policy_is_noticed(what: str) -> None:
    document = bucket_policy()
    WIDENED[what](document)
    assert problems(document, "bucket") or list(broken(document, deny=True))


WIDER: dict[str, Callable[[Any], object]] = {
    "all of the bucket": lambda d: d["Statement"][2].update(Resource=[f"{ARN}/*"]),
    "a neighbour whose name begins alike": lambda d: d["Statement"][2].update(Resource=[f"{ARN}/web1*"]),
    "lists everything": lambda d: d["Statement"][1].pop("Condition"),
    "deletes data": lambda d: d["Statement"][5].update(Resource=[f"{ARN}/web1/*"]),
    "deletes versions": lambda d: d["Statement"][5].update(Action=["s3:DeleteObject*"]),
    "everything but": lambda d: d["Statement"][5].update(NotResource=d["Statement"][5].pop("Resource")),
    "sets retention": lambda d: d["Statement"][2]["Action"].append("s3:PutObjectRetention"),
    "may make keys": lambda d: d["Statement"].append(
        {"Effect": "Allow", "Action": ["iam:CreateAccessKey"], "Resource": ["*"]}
    ),
}


@pytest.mark.parametrize("what", WIDER)
def test_a_widened_identity_is_noticed(what: str) -> None:
    document = copy.deepcopy(identity())
    WIDER[what](document)
    assert problems(document, "identity") or list(broken(document, deny=False))


# ---- KMS and test vaults


def test_a_bucket_with_its_own_key_accepts_only_that_key() -> None:
    document = bucket_policy(kms_key=KEY)
    sse = {"x_amz_server_side_encryption": "aws:kms"}

    def answer(**headers: str) -> set[str]:
        request = put("R3", **headers)
        return effects(document, request.action, request.resource, request.asked())

    assert answer() == set()
    assert answer(**sse, x_amz_server_side_encryption_aws_kms_key_id=KEY) == set()
    assert answer(**sse, x_amz_server_side_encryption_aws_kms_key_id=KEY.replace("1234abcd", "0000abcd")) == {
        "Deny"
    }
    assert answer(x_amz_server_side_encryption="AES256") == {"Deny"}


def test_an_identity_uses_the_key_only_through_s3_and_for_its_own_bucket() -> None:
    document = identity(kms_key=KEY)
    via = {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}
    arn = "kms:EncryptionContext:aws:s3:arn"
    assert effects(document, "kms:Decrypt", KEY, {**via, arn: ARN}) == {"Allow"}
    assert effects(document, "kms:GenerateDataKey", KEY, {**via, arn: PACK}) == {"Allow"}
    for context in ({arn: ARN}, via, {**via, arn: f"{ARN}2"}, {**via, arn: f"{ARN}/db1/g1/data/ab/abcd"}):
        assert effects(document, "kms:Decrypt", KEY, context) == set(), context


def test_nobody_can_lock_a_test_vault_for_good() -> None:
    document = bucket_policy(mode="GOVERNANCE", maximum_days=7)
    for days, mode in (("7", "COMPLIANCE"), ("8", "GOVERNANCE")):
        context = {
            "aws:PrincipalArn": BREAK_GLASS,
            "s3:object-lock-mode": mode,
            "s3:object-lock-remaining-retention-days": days,
        }
        assert effects(document, "s3:PutObjectRetention", PACK, context) == {"Deny"}


# ---- no name widens a document

NASTY = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "*",
                "?",
                "${aws:username}",
                "/",
                "..",
                ".",
                "locks",
                '"',
                "\\",
                "\n",
                "\0",
                "é",
                " ",
                "%2f",
                ":",
                "web1",
            ]
        ),
        st.text(alphabet="abcXYZ0189-_.", max_size=8),
    ),
    max_size=6,
).map("".join)


@given(NASTY, NASTY)
def test_no_prefix_or_bucket_widens_an_identity(bucket: str, prefix: str) -> None:
    try:
        document = identity_policy(bucket, prefix)
    except ValueError:
        return
    text = json.dumps(document)
    assert re.sub(re.escape(bucket), BUCKET, text, count=0).count("*") == json.dumps(identity()).count("*")
    assert "${" not in text
    assert problems(document, "identity") == []
    assert effects(document, "s3:DeleteObject", f"arn:aws:s3:::{bucket}/{prefix}g1/data/ab/x", {}) == set()
    assert effects(document, "s3:GetObject", f"arn:aws:s3:::{bucket}/other/{prefix}x", {}) <= (
        {"Allow"} if f"other/{prefix}".startswith(prefix) else set()
    )


@given(
    st.from_regex(r"([A-Za-z0-9._-]{1,12}/){1,3}", fullmatch=True),
    st.from_regex(r"([A-Za-z0-9._-]{1,12}/){1,3}", fullmatch=True),
)
def test_similar_prefixes_do_not_open_each_other(one: str, other: str) -> None:
    try:
        documents = [identity_policy(BUCKET, prefix) for prefix in (one, other)]
    except ValueError:
        return
    apart = not one.startswith(other) and not other.startswith(one)
    for document, prefix in zip(documents, (other, one), strict=True):
        for verb, key in (
            ("GetObject", "g1/config"),
            ("PutObject", "g1/config"),
            ("DeleteObject", "g1/locks/1"),
        ):
            found = effects(document, f"s3:{verb}", f"{ARN}/{prefix}{key}", {})
            assert not apart or found == set()


@given(NASTY)
def test_a_role_name_exempts_no_other_role(tail: str) -> None:
    role = f"arn:aws:iam::123456789012:role/{tail}"
    try:
        document = bucket_policy(break_glass=role)
    except ValueError:
        return
    other = {"aws:SecureTransport": "true", "aws:PrincipalArn": f"{role}x"}
    assert effects(document, "s3:PutBucketPolicy", ARN, other) == {"Deny"}
    assert problems(document, "bucket") == []


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "/",
        "web1",
        "*/",
        "a*/",
        "../",
        "a/../",
        "./",
        "a//",
        "locks/",
        "a/locks/",
        "${aws:username}/",
        "a/\n",
        "é/",
    ],
)
def test_a_prefix_that_could_match_others_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        identity(prefix=prefix)


@pytest.mark.parametrize(
    "bucket",
    ["", "ab", "A-bucket", "b*cket", "b?cket", "-bucket", "bucket-", "a/b", "a.bucket", "b" * 64, "bucket\n"],
)
def test_a_bucket_name_that_could_match_more_is_refused(bucket: str) -> None:
    for make in (identity, bucket_policy):
        with pytest.raises(ValueError, match="bucket"):
            make(bucket=bucket)


@pytest.mark.parametrize(
    "role",
    ["", "*", "arn:aws:iam::123456789012:role/*", "arn:aws:iam::*:role/a", "arn:aws:iam::123456789012:user/a", "arn:aws:iam::123456789012:root",
     "arn:aws:iam::123456789012:role/", "arn:aws:iam::123456789012:role/${aws:username}", "arn:aws:sts::123456789012:assumed-role/a/b", BREAK_GLASS + "\n"],
)  # fmt: skip
def test_break_glass_is_a_single_role(role: str) -> None:
    with pytest.raises(ValueError, match="role"):
        bucket_policy(break_glass=role)


def test_a_prefix_too_long_for_iam_is_refused_before_iam_does() -> None:
    longest = f"{'p' * MOST_PREFIX}/{'s' * 23}/"
    key = KEY.replace("1234abcd", "mrk-1234abcd")
    fitted = identity(bucket="b" * 63, prefix=longest, kms_key=key)
    assert problems(fitted, "identity") == []
    # Nowhere are the names longer than there, so packs' folders are denied for every bucket alike.
    key = f"arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-{'1' * 32}"
    pack_folder = f"arn:aws-us-gov:s3:::{'b' * 63}/{longest}g1/data/ab"
    longer = identity(bucket="b" * 63, prefix=longest, kms_key=key, partition="aws-us-gov")
    assert problems(longer, "identity") == []
    assert effects(longer, "s3:PutObject", pack_folder, {}) == {"Allow", "Deny"}
    with pytest.raises(ValueError, match="shorter prefix"):
        identity(bucket="b" * 63, prefix="p" * 300 + "/web1/", kms_key=KEY)


# ---- lifecycle


def test_lifecycle_never_removes_a_current_version_nor_one_before_its_lock() -> None:
    for days in (1, 30, 36500):
        rules = lifecycle(lock_days=days)
        assert all(
            rule.get("expiration", {"expired_object_delete_marker": True})
            == {"expired_object_delete_marker": True}
            for rule in rules
        )
        assert all(
            rule["noncurrent_version_expiration"]["noncurrent_days"] > days
            for rule in rules
            if "noncurrent_version_expiration" in rule
        )
        # S3 refuses the markers beside other days.
        assert len([rule for rule in rules if "expiration" in rule]) == 1
        assert set(rules[1]) == {"id", "status", "filter", "expiration"}


def test_lifecycle_depends_on_no_source_so_adding_one_needs_no_break_glass() -> None:
    """S3 takes 1000 rules, and break-glass alone may change them: rules per source would stop `pulumi up` for a new source."""
    text = json.dumps(DOCUMENTS["lifecycle-classes.json"]())
    assert "web1" not in text
    assert text.count('"id"') == 3


def test_moves_are_in_the_order_of_their_days_as_s3_demands_it() -> None:
    moves = [
        Transition(storage_class="GLACIER_IR", after_days=60),
        Transition(storage_class="STANDARD_IA", after_days=30),
    ]
    (rule,) = [one for one in lifecycle(lock_days=30, transitions=moves) if one["id"] == "storage-classes"]
    assert [move["days"] for move in rule["transitions"]] == [30, 60]


def test_the_promises_speak_of_data_and_locks() -> None:
    """Guards the table itself: it must not shrink to nothing."""
    assert len(REFUSED) > 100
    assert {PACK, LOCK, ARN} <= {request.resource for request in REFUSED}
