"""AWS policy documents, and the names that they may contain. Pure: no engine, no network.

Every check refuses a name that could widen a document (a wildcard, a policy variable, a second path). Settings have already refused it,
with a better error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
"""A policy, or one statement of it, as IAM reads it."""

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9._-]+/)+")
_PARTITION = re.compile(r"aws|aws-cn|aws-us-gov")
_ROLE = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:role/(?:[A-Za-z0-9+=,.@_-]+/)*[A-Za-z0-9+=,.@_-]{1,64}"
)
_KEY = re.compile(r"arn:(aws|aws-cn|aws-us-gov):kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]{1,64}")


def document(statements: Sequence[Document]) -> Document:
    """A whole policy."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def size(policy: Document) -> int:
    """Length in characters, as IAM counts them: without white space."""
    return len(json.dumps(policy, separators=(",", ":")))


def checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    """Return the value if all of it matches.

    Raises:
        ValueError: says which ``what`` was expected.
    """
    if not pattern.fullmatch(value) or not value.isascii():
        raise ValueError(f"not {what}: {value!r}")
    return value


def bucket_name(bucket: str) -> str:
    return checked(_BUCKET, bucket, "a bucket's name of 3 to 63 a-z 0-9 -")


def bucket_arn(bucket: str, partition: str) -> str:
    return f"arn:{checked(_PARTITION, partition, 'a partition')}:s3:::{bucket_name(bucket)}"


def storage_prefix(prefix: str) -> str:
    """``web1/`` or ``hosts/web1/``. A part named ``locks`` is refused, because the policies allow deletion below that name."""
    checked(_PREFIX, prefix, "a prefix of words that each end with a slash")
    if {".", "..", "locks"} & set(prefix.split("/")):
        raise ValueError(f"not a prefix: {prefix!r} has a part named '.', '..' or 'locks'")
    return prefix


def role_arn(role: str) -> str:
    return checked(_ROLE, role, "the ARN of one role")


def kms_key_arn(key: str) -> str:
    return checked(_KEY, key, "the ARN of one KMS key")


def domain(partition: str) -> str:
    """The DNS suffix of the partition's services."""
    return (
        "amazonaws.com.cn" if checked(_PARTITION, partition, "a partition") == "aws-cn" else "amazonaws.com"
    )
