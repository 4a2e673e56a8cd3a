"""Who may do what to the vault on AWS: identity, bucket and topic policies, and the lifecycle. Pure: no engine, no network.

The one source of these documents: the local sandbox enforces the same identity policy that AWS gets. Every function refuses a name that
could widen a document (a wildcard, a policy variable, a second path); settings have refused it before, with a better error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Document = dict[str, Any]
Mode = Literal["COMPLIANCE", "GOVERNANCE"]

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
_ROOM = re.compile(r"(?:[A-Za-z0-9._-]+/)+")
_PARTITION = re.compile(r"aws|aws-cn|aws-us-gov")
_ROLE = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:role/(?:[A-Za-z0-9+=,.@_-]+/)*[A-Za-z0-9+=,.@_-]{1,64}"
)
_KEY = re.compile(r"arn:(aws|aws-cn|aws-us-gov):kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]{1,64}")

_TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_INLINE_LIMIT = 2048  # of all inline policies of one IAM user

# Object Lock, versions and the rules around them: what R2 and R4 try. PutObject with a retention, a legal hold or an ACL in its headers
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
    # Re-encrypts what stands, locked or not, in place: with an attacker's KMS key that is ransom without a new version.
    "s3:UpdateObjectEncryption",
)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Objects above 1 MiB move to ``storage_class`` this many days after upload. Both classes answer at once, as restic needs it."""

    after_days: int
    storage_class: Literal["STANDARD_IA", "GLACIER_IR"]


def _whole(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value) or not value.isascii():
        raise ValueError(f"not {what}: {value!r}")
    return value


def bucket_name(bucket: str) -> str:
    return _whole(_BUCKET, bucket, "a bucket's name of 3 to 63 a-z 0-9 -")


def room_path(room: str) -> str:
    """``web1/`` or ``prefix/web1/``. A part named ``locks`` is refused: what may be deleted is told by that name."""
    _whole(_ROOM, room, "a room of words that each end with a slash")
    if {".", "..", "locks"} & set(room.split("/")):
        raise ValueError(f"not a room: {room!r} has a part named '.', '..' or 'locks'")
    return room


def role_arn(role: str) -> str:
    return _whole(_ROLE, role, "the ARN of one role")


def kms_key_arn(key: str) -> str:
    return _whole(_KEY, key, "the ARN of one KMS key")


def domain(partition: str) -> str:
    """The DNS suffix of the partition's services."""
    return "amazonaws.com.cn" if _whole(_PARTITION, partition, "a partition") == "aws-cn" else "amazonaws.com"


def _bucket_arn(bucket: str, partition: str) -> str:
    return f"arn:{_whole(_PARTITION, partition, 'a partition')}:s3:::{bucket_name(bucket)}"


def source_identity(
    bucket: str, room: str, *, kms_key: str | None = None, partition: str = "aws"
) -> Document:
    """List its own room, read and add objects there, delete nothing but restic's locks, see how the bucket keeps them; nothing else (R1, R8)."""
    of_bucket, room = _bucket_arn(bucket, partition), room_path(room)
    statements: list[Document] = [
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetBucketLocation",
                "s3:GetBucketObjectLockConfiguration",
                "s3:GetBucketVersioning",
                # A rule that lets current objects expire would hide every backup: the relay looks for it before the first one.
                "s3:GetLifecycleConfiguration",
            ],
            "Resource": [of_bucket],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [of_bucket],
            # Also what turns a look at a missing object into 404, not 403: AWS asks it with the object's name as the prefix. Without that,
            # rclone could not tell a new name from a refusal and would take no upload (ceph's pull request 68577 copies AWS in this).
            "Condition": {"StringLike": {"s3:prefix": f"{room}*"}},
        },
        {
            "Effect": "Allow",
            "Action": ["s3:AbortMultipartUpload", "s3:GetObject"],
            "Resource": [f"{of_bucket}/{room}*"],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject"],
            # A repository's config, and what is inside its folders; never a name that is a folder of it (g1, g1/data, g1/data/ab). Some servers'
            # listings stop at an object of such a name: one locked upload would hide every pack or snapshot below it (`ops drill`, row S4).
            "Resource": [f"{of_bucket}/{room}*/config", f"{of_bucket}/{room}*/*/*"],
        },
        (
            no_folders := {
                "Effect": "Deny",
                "Action": ["s3:PutObject"],
                "Resource": [f"{of_bucket}/*/data/??"],
            }
        ),
        {
            "Effect": "Allow",
            # Version and retention, so that the relay sees that what it uploads is kept and locked; of a backup's own objects neither.
            "Action": ["s3:DeleteObject", "s3:GetObjectRetention", "s3:GetObjectVersion"],
            "Resource": [f"{of_bucket}/{room}*/locks/*"],
        },
    ]
    if kms_key is not None:
        region = kms_key_arn(kms_key).split(":")[3]
        statements.append(
            {
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": [kms_key],
                # Only through S3, and only for this bucket: with a bucket key the context is the bucket, without one it is the object.
                "Condition": {
                    "StringEquals": {"kms:ViaService": f"s3.{region}.{domain(partition)}"},
                    "StringLike": {"kms:EncryptionContext:aws:s3:arn": [of_bucket, f"{of_bucket}/{room}*"]},
                },
            }
        )
    document = {"Version": "2012-10-17", "Statement": statements}
    if _size(document) > _INLINE_LIMIT:
        # Of any bucket, where its name does not fit a third time: what is denied too much costs nothing.
        no_folders["Resource"] = [f"arn:{partition}:s3:::*/data/??"]
    if (size := _size(document)) > _INLINE_LIMIT:
        raise ValueError(
            f"the identity's policy has {size} characters, IAM takes {_INLINE_LIMIT}: use a shorter prefix"
        )
    return document


def _size(document: Document) -> int:
    """In characters, as IAM counts them: without white space."""
    return len(json.dumps(document, separators=(",", ":")))


def bucket_policy(
    bucket: str,
    *,
    break_glass: str,
    mode: Mode,
    maximum_days: int,
    kms_key: str | None = None,
    partition: str = "aws",
) -> Document:
    """Nobody but ``break_glass`` weakens the vault, whatever their own policies allow: root of the relay, deployer, administrator (R1 to R5).

    Denials only; what an identity may do at all, its own policy says. A principal without an ARN (anonymous) is denied as well.
    TLS, the cap on retention, the lock's mode and the bucket's own encryption key bind ``break_glass``, too.
    """
    if mode not in ("COMPLIANCE", "GOVERNANCE") or maximum_days < 1:
        raise ValueError(f"not a lock: {mode} up to {maximum_days} days")
    of_bucket = _bucket_arn(bucket, partition)
    objects = f"{of_bucket}/*"
    # StringNotEquals, not ArnNotEquals: no character of the role's name means anything else than itself.
    others = {"StringNotEquals": {"aws:PrincipalArn": role_arn(break_glass)}}

    def deny(sid: str, actions: Sequence[str], condition: Document, *, resources: Document) -> Document:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            **resources,
            "Condition": condition,
        }

    def unless(key: str, allowed: str) -> Document:
        # Given in the request's headers, and another one. Null is needed: StringNotEquals is true for a missing key.
        return {"Null": {key: "false"}, "StringNotEquals": {key: allowed}}

    algorithm = "s3:x-amz-server-side-encryption"
    key_id = f"{algorithm}-aws-kms-key-id"
    on_objects = {"Resource": [objects]}
    return {
        "Version": "2012-10-17",
        "Statement": [
            deny(
                "TlsOnly",
                ["s3:*"],
                {"Bool": {"aws:SecureTransport": "false"}},
                resources={"Resource": [of_bucket, objects]},
            ),
            deny(
                "OnlyBreakGlassChangesTheBucket",
                GUARDED_BUCKET_ACTIONS,
                others,
                resources={"Resource": [of_bucket]},
            ),
            deny(
                "OnlyBreakGlassChangesVersionsAndLocks", GUARDED_OBJECT_ACTIONS, others, resources=on_objects
            ),
            deny(
                "OnlyResticLocksAreDeleted",
                ["s3:DeleteObject"],
                others,
                resources={"NotResource": [f"{of_bucket}/*/locks/*"]},
            ),
            deny(
                "WritesAddAndNeverReplace",
                ["s3:PutObject"],
                # Parts of a multipart upload carry no condition; its completion creates the object and does.
                {
                    **others,
                    "Null": {"s3:if-none-match": "true"},
                    "Bool": {"s3:ObjectCreationOperation": "true"},
                },
                resources=on_objects,
            ),
            deny(
                "NoOtherLockMode",
                ["s3:PutObject", "s3:PutObjectRetention"],
                unless("s3:object-lock-mode", mode),
                resources=on_objects,
            ),
            deny(
                "NoLockBeyondTheCap",
                ["s3:PutObject", "s3:PutObjectRetention"],
                {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": str(maximum_days)}},
                resources=on_objects,
            ),
            # With a key of somebody else's, months of backups would work and then be gone, locked or not.
            deny(
                "NoKeyOfTheCaller",
                ["s3:PutObject"],
                {"Null": {f"{algorithm}-customer-algorithm": "false"}},
                resources=on_objects,
            ),
            deny(
                "NoOtherEncryption",
                ["s3:PutObject"],
                unless(algorithm, "AES256" if kms_key is None else "aws:kms"),
                resources=on_objects,
            ),
            deny(
                "NoOtherKey",
                ["s3:PutObject"],
                {"Null": {key_id: "false"}} if kms_key is None else unless(key_id, kms_key_arn(kms_key)),
                resources=on_objects,
            ),
            # An archive class would make a restore wait for hours, and costs by the month.
            deny(
                "NoOtherStorageClass",
                ["s3:PutObject"],
                _merged(others, unless("s3:x-amz-storage-class", "STANDARD")),
                resources=on_objects,
            ),
        ],
    }


def _merged(one: Document, other: Document) -> Document:
    """Two condition blocks that both must hold."""
    return {operator: {**one.get(operator, {}), **other.get(operator, {})} for operator in {**one, **other}}


def operators_topic(topic: str, *, account: str) -> Document:
    """CloudWatch alarms of this account may publish; nobody else's may."""
    return _topic(topic, "cloudwatch", {"StringEquals": {"aws:SourceAccount": account}})


def rules_topic(topic: str) -> Document:
    """EventBridge may publish. No condition: EventBridge sends no context that one could look at, and a topic with one gets nothing.

    So a rule of another account could publish, too. Nobody subscribes to this topic, and alarms count invocations of our own rules.
    """
    return _topic(topic, "events", None)


def _topic(topic: str, service: str, condition: Document | None) -> Document:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": f"{service}.amazonaws.com"},
                "Action": ["sns:Publish"],
                "Resource": [_whole(_TOPIC, topic, "the ARN of one topic")],
                **({} if condition is None else {"Condition": condition}),
            }
        ],
    }


def silence_check_trust() -> Document:
    """Only the Lambda service takes this role."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": ["sts:AssumeRole"],
            }
        ],
    }


def silence_check_rights(
    bucket: str,
    snapshots: Sequence[str],
    *,
    account: str,
    function: str,
    namespace: str,
    partition: str = "aws",
) -> Document:
    """List the names below these folders, write metrics of one namespace, keep a log; nothing else (K1)."""
    log = f"arn:{partition}:logs:*:{_whole(_ACCOUNT, account, 'an account')}:log-group:/aws/lambda/{_whole(_NAME, function, 'a name')}-*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [_bucket_arn(bucket, partition)],
                "Condition": {"StringEquals": {"s3:prefix": [room_path(one) for one in snapshots]}},
            },
            {
                "Effect": "Allow",
                "Action": ["cloudwatch:PutMetricData"],
                "Resource": ["*"],
                "Condition": {"StringEquals": {"cloudwatch:namespace": _whole(_NAME, namespace, "a name")}},
            },
            {"Effect": "Allow", "Action": ["logs:CreateLogGroup"], "Resource": [log]},
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": [f"{log}:log-stream:20*"],  # Lambda names them by the date
            },
        ],
    }


LARGE = 1024 * 1024


def lifecycle(*, lock_days: int, prefix: str = "", transitions: Sequence[Transition] = ()) -> list[Document]:
    """What S3 tidies up by itself: never a current version, never a version under lock.

    Rules in the form of pulumi-aws's ``BucketLifecycleConfiguration``. A version that was deleted or replaced stays for the lock's time plus
    one day after that, at least: so a mistaken or hostile deletion of data whose own lock has run out can be undone for as long.
    S3 lets a lifecycle filter match beginnings of names only; moves are therefore chosen by size: packs below ``data/`` are above 1 MiB,
    of restic's other files at most a large index is, and that reads back at once from both classes, too.
    """
    if lock_days < 1:
        raise ValueError(f"a lock lasts at least one day, not {lock_days}")
    if prefix:
        room_path(prefix)
    least = {"STANDARD_IA": 30, "GLACIER_IR": 0}
    for place, move in enumerate(transitions):
        if move.after_days < least.get(move.storage_class, math.inf):
            raise ValueError(
                "transitions come in this order: STANDARD_IA after 30 days or more, GLACIER_IR 30 days after that"
            )
        # What S3 takes after this one: at most a move to the class below, a month later.
        least = (
            {"GLACIER_IR": move.after_days + 30} if place == 0 and move.storage_class == "STANDARD_IA" else {}
        )
    rules: list[Document] = [
        {
            "id": "deleted-versions",
            "status": "Enabled",
            "filter": {"prefix": prefix},
            "noncurrent_version_expiration": {"noncurrent_days": lock_days + 1},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        },
        {
            # A rule of its own: S3 refuses it beside others' days.
            "id": "markers-of-nothing",
            "status": "Enabled",
            "filter": {"prefix": prefix},
            "expiration": {"expired_object_delete_marker": True},
        },
    ]
    if transitions:
        rules.append(
            {
                "id": "storage-classes",
                "status": "Enabled",
                "filter": {"and_": {"prefix": prefix, "object_size_greater_than": LARGE}}
                if prefix
                else {"object_size_greater_than": LARGE},
                "transitions": [
                    {"days": t.after_days, "storage_class": t.storage_class} for t in transitions
                ],
            }
        )
    return rules
