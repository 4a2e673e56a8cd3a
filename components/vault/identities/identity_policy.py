"""The rights of a source's identity in the vault. Pure: no engine, no network.

This is the only source of the document: the local sandbox enforces the same policy that AWS gets.
"""

from __future__ import annotations

from components.vault.policy_documents import (
    Document,
    bucket_arn,
    document,
    domain,
    kms_key_arn,
    size,
    storage_prefix,
)

_INLINE_LIMIT = 2048  # characters of all inline policies of one IAM user


def identity_policy(
    bucket: str, prefix: str, *, kms_key: str | None = None, partition: str = "aws"
) -> Document:
    """It may only list its own prefix, read and add objects there, delete restic's locks, and see how the bucket keeps objects (R1, R8).

    Raises:
        ValueError: a name could widen the document, or the document is too large for IAM.
    """
    arn = bucket_arn(bucket, partition)
    objects = f"{arn}/{storage_prefix(prefix)}"
    key_use = [] if kms_key is None else [_key_use(kms_key, arn, objects, partition)]

    def policy(no_folders_below: str) -> Document:
        reads, writes, locks = _reads(arn, objects, prefix), _writes(objects), _locks(objects)
        return document([*reads, writes, _no_folders(no_folders_below), locks, *key_use])

    made = policy(f"{arn}/*")
    if size(made) > _INLINE_LIMIT:
        # For any bucket if its name does not fit a third time: it does no harm to deny too much.
        made = policy(f"arn:{partition}:s3:::*")
    if size(made) > _INLINE_LIMIT:
        raise ValueError(
            f"the identity's policy has {size(made)} characters, IAM takes {_INLINE_LIMIT}: use a shorter prefix"
        )
    return made


def _reads(arn: str, objects: str, prefix: str) -> list[Document]:
    return [
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetBucketLocation",
                "s3:GetBucketObjectLockConfiguration",
                "s3:GetBucketVersioning",
                # A rule that expires current objects would hide every backup: the relay looks for one before the first backup.
                "s3:GetLifecycleConfiguration",
            ],
            "Resource": [arn],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [arn],
            # This also turns the answer for a missing object from 403 into 404: AWS checks it with the object's name as the prefix. Without it,
            # rclone could not tell a new name from a refusal and would not upload (ceph's pull request 68577 copies AWS in this).
            # rclone could not tell a new name from a refusal and would take no upload (ceph's pull request 68577 copies AWS in this).
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}},
        },
        {
            "Effect": "Allow",
            "Action": ["s3:AbortMultipartUpload", "s3:GetObject"],
            "Resource": [f"{objects}*"],
        },
    ]


def _writes(objects: str) -> Document:
    """A repository's config, and what is inside its folders; never a name that is one of its folders (g1, g1/data, g1/data/ab).

    Some servers' listings stop at an object of such a name: one locked upload would hide every pack or snapshot below it (S4).
    """
    return {
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": [f"{objects}*/config", f"{objects}*/*/*"],
    }


def _no_folders(below: str) -> Document:
    return {"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": [f"{below}/data/??"]}


def _locks(objects: str) -> Document:
    """Version and retention, so that the relay sees that its uploads are kept and locked; for the objects of a backup it needs neither."""
    return {
        "Effect": "Allow",
        "Action": ["s3:DeleteObject", "s3:GetObjectRetention", "s3:GetObjectVersion"],
        "Resource": [f"{objects}*/locks/*"],
    }


def _key_use(kms_key: str, arn: str, objects: str, partition: str) -> Document:
    """Only through S3, and only for this bucket: with a bucket key the context is the bucket, without one it is the object."""
    region = kms_key_arn(kms_key).split(":")[3]
    return {
        "Effect": "Allow",
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": [kms_key],
        "Condition": {
            "StringEquals": {"kms:ViaService": f"s3.{region}.{domain(partition)}"},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": [arn, f"{objects}*"]},
        },
    }
