"""The policy of the locked bucket: what only break-glass may do to it, and what nobody may do at all. Pure: no engine, no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from components.vault.policy_documents import Document, bucket_arn, document, kms_key_arn, role_arn

LockMode = Literal["COMPLIANCE", "GOVERNANCE"]

# Object Lock, versions and the settings that protect them: the targets of R2 and R4. A PutObject with a retention, a legal hold or an ACL in its
# headers also needs the action named for it, so the same statement refuses it.
# needs the action named for it as well, so it is refused by the same statement.
GUARDED_BUCKET_ACTIONS: Final = (
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutIntelligentTieringConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
)
GUARDED_OBJECT_ACTIONS: Final = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteObjectVersion",
    "s3:ObjectOwnerOverrideToBucketOwner",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectVersionAcl",
    "s3:ReplicateDelete",
    "s3:ReplicateObject",
    # Re-encrypts stored objects in place, even locked ones: with an attacker's KMS key that is ransom without a new version.
    "s3:UpdateObjectEncryption",
)
_WRITES_OBJECTS: Final = ("s3:PutObject",)
_SETS_LOCKS: Final = ("s3:PutObject", "s3:PutObjectRetention")
_ALGORITHM: Final = "s3:x-amz-server-side-encryption"


def bucket_policy(
    bucket: str,
    *,
    break_glass: str,
    mode: LockMode,
    maximum_days: int,
    kms_key: str | None = None,
    partition: str = "aws",
) -> Document:
    """Only ``break_glass`` can weaken the vault, whatever other policies allow: not root on the relay, the deployer or an administrator (R1 to R5).

    It contains only denials; what an identity may do at all is in its own policy. A principal without an ARN (anonymous) is denied as well.
    TLS, the cap on retention, the lock's mode and the bucket's own encryption key bind ``break_glass``, too.
    """
    arn = bucket_arn(bucket, partition)
    objects = f"{arn}/*"
    # StringNotEquals, not ArnNotEquals: no character of the role's name is a wildcard.
    others = {"StringNotEquals": {"aws:PrincipalArn": role_arn(break_glass)}}
    return document(
        [
            *_only_break_glass_weakens(arn, others),
            *_locks_are_the_buckets_own(objects, mode, maximum_days),
            *_encryption_is_the_buckets_own(objects, kms_key),
            # An archive class would delay a restore by hours, and costs extra for months.
            _deny(
                "NoOtherStorageClass",
                _WRITES_OBJECTS,
                _both(others, _header_differs("s3:x-amz-storage-class", "STANDARD")),
                {"Resource": [objects]},
            ),
        ]
    )


def _only_break_glass_weakens(arn: str, others: Document) -> list[Document]:
    objects = {"Resource": [f"{arn}/*"]}
    without_tls = {"Bool": {"aws:SecureTransport": "false"}}
    # Parts of a multipart upload have no condition; its completion creates the object and has one.
    replaces = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    return [
        _deny("TlsOnly", ["s3:*"], without_tls, {"Resource": [arn, f"{arn}/*"]}),
        _deny("OnlyBreakGlassChangesTheBucket", GUARDED_BUCKET_ACTIONS, others, {"Resource": [arn]}),
        _deny("OnlyBreakGlassChangesVersionsAndLocks", GUARDED_OBJECT_ACTIONS, others, objects),
        _deny(
            "OnlyResticLocksAreDeleted", ["s3:DeleteObject"], others, {"NotResource": [f"{arn}/*/locks/*"]}
        ),
        _deny("WritesAddAndNeverReplace", _WRITES_OBJECTS, {**others, **replaces}, objects),
    ]


def _locks_are_the_buckets_own(objects: str, mode: LockMode, maximum_days: int) -> list[Document]:
    beyond = {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": str(maximum_days)}}
    return [
        _deny(
            "NoOtherLockMode",
            _SETS_LOCKS,
            _header_differs("s3:object-lock-mode", mode),
            {"Resource": [objects]},
        ),
        _deny("NoLockBeyondTheCap", _SETS_LOCKS, beyond, {"Resource": [objects]}),
    ]


def _encryption_is_the_buckets_own(objects: str, kms_key: str | None) -> list[Document]:
    """With somebody else's key, backups would work for months and then be lost, locked or not."""
    key_id = f"{_ALGORITHM}-aws-kms-key-id"
    on_objects = {"Resource": [objects]}
    return [
        _deny(
            "NoKeyOfTheCaller",
            _WRITES_OBJECTS,
            _header_is_given(f"{_ALGORITHM}-customer-algorithm"),
            on_objects,
        ),
        _deny(
            "NoOtherEncryption",
            _WRITES_OBJECTS,
            _header_differs(_ALGORITHM, "AES256" if kms_key is None else "aws:kms"),
            on_objects,
        ),
        _deny(
            "NoOtherKey",
            _WRITES_OBJECTS,
            _header_is_given(key_id) if kms_key is None else _header_differs(key_id, kms_key_arn(kms_key)),
            on_objects,
        ),
    ]


def _deny(sid: str, actions: Sequence[str], condition: Document, resources: Document) -> Document:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(actions),
        **resources,
        "Condition": condition,
    }


def _header_is_given(key: str) -> Document:
    return {"Null": {key: "false"}}


def _header_differs(key: str, allowed: str) -> Document:
    """True if a header of the request has another value. Null is needed because StringNotEquals is true for a missing key."""
    return {**_header_is_given(key), "StringNotEquals": {key: allowed}}


def _both(one: Document, other: Document) -> Document:
    """Combine two condition blocks that must both be true."""
    return {operator: {**one.get(operator, {}), **other.get(operator, {})} for operator in {**one, **other}}
