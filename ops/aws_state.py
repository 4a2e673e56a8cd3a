"""A bucket for Pulumi's state in S3, with its secrets under a KMS key. Running it again changes nothing."""

from __future__ import annotations

import json
from typing import Any

from ops.errors import LastcopyError

ALIAS = "alias/lastcopy-state"


def make_state_backend(session: Any, bucket: str, region: str) -> list[str]:
    """Ensure that the bucket (versioned, not public, TLS only) and the key (rotated yearly, with an alias) exist.

    Returns what had to be changed.
    """
    s3, kms = session.client("s3", region_name=region), session.client("kms", region_name=region)
    owner = session.client("sts", region_name=region).get_caller_identity()["Account"]
    changed = []
    if not _ours(s3, bucket, owner):
        # us-east-1 is the one region that must not be named.
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **place)
        changed.append(f"bucket {bucket}")
    mine: dict[str, Any] = {"Bucket": bucket, "ExpectedBucketOwner": owner}
    if s3.get_bucket_versioning(**mine).get("Status") != "Enabled":
        s3.put_bucket_versioning(VersioningConfiguration={"Status": "Enabled"}, **mine)
        changed.append("versioning")
    s3.put_public_access_block(
        PublicAccessBlockConfiguration=dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        ),
        **mine,
    )
    if not _has_policy(s3, mine):
        s3.put_bucket_policy(Policy=json.dumps(_tls_only(bucket)), **mine)
        changed.append("policy")
    if not any(one["AliasName"] == ALIAS for one in _aliases(kms)):
        key = kms.create_key(Description="lastcopy: secrets in Pulumi state")["KeyMetadata"]["KeyId"]
        kms.enable_key_rotation(KeyId=key)
        kms.create_alias(AliasName=ALIAS, TargetKeyId=key)
        changed.append(f"key {ALIAS}")
    return changed


def _ours(s3: Any, bucket: str, owner: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=owner)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "404":
            return False
        if code == "403":
            raise LastcopyError(
                f"{bucket} belongs to another account, or this identity may not see it",
                where="--bucket",
                fix="choose another name, or use an administrator's session",
            ) from None
        raise
    return True


def _has_policy(s3: Any, mine: dict[str, Any]) -> bool:
    """Whether the bucket has a policy. An existing policy is left as it is."""
    from botocore.exceptions import ClientError

    try:
        s3.get_bucket_policy(**mine)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
            return False
        raise
    return True


def _tls_only(bucket: str) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _aliases(kms: Any) -> list[dict[str, Any]]:
    return [one for page in kms.get_paginator("list_aliases").paginate() for one in page["Aliases"]]
