"""The events that the vault's alarms look for, as EventBridge patterns. Pure: no engine, no network."""

from __future__ import annotations

from typing import Any

from components.vault.policy_documents import bucket_name, storage_prefix

Pattern = dict[str, Any]


def _of_s3(bucket: str, kind: str, detail: Pattern) -> Pattern:
    return {
        "source": ["aws.s3"],
        "detail-type": [kind],
        "detail": {"bucket": {"name": [bucket_name(bucket)]}, **detail},
    }


def new_snapshot(bucket: str, snapshots: str) -> Pattern:
    """A new object below a source's ``snapshots/``: restic writes one at the end of each backup, and nothing else there."""
    return _of_s3(bucket, "Object Created", {"object": {"key": [{"prefix": storage_prefix(snapshots)}]}})


def hidden(bucket: str) -> Pattern:
    """A delete marker on anything except restic's locks: the repository looks smaller or empty."""
    return _of_s3(
        bucket,
        "Object Deleted",
        {
            "deletion-type": ["Delete Marker Created"],
            "object": {"key": [{"anything-but": {"wildcard": "*/locks/*"}}]},
        },
    )


def destroyed(bucket: str) -> Pattern:
    """A version that was removed by a call. Expiry by the lifecycle has another reason and does not match."""
    return _of_s3(
        bucket, "Object Deleted", {"deletion-type": ["Permanently Deleted"], "reason": ["DeleteObject"]}
    )


def _by_cloudtrail(bucket: str, detail: Pattern) -> Pattern:
    return {
        "source": ["aws.s3"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {
            "eventSource": ["s3.amazonaws.com"],
            "requestParameters": {"bucketName": [bucket_name(bucket)]},
            **detail,
        },
    }


def denied(bucket: str) -> Pattern:
    """A call that the vault refused."""
    return _by_cloudtrail(bucket, {"errorCode": ["AccessDenied"]})


def reconfigured(bucket: str) -> Pattern:
    """A change of the bucket's own settings, including its notifications, successful or not."""
    names = (
        "PutBucket",
        "DeleteBucket",
        "PutObjectLockConfiguration",
        "PutPublicAccessBlock",
        "DeletePublicAccessBlock",
    )
    return _by_cloudtrail(bucket, {"eventName": [{"prefix": name} for name in names]})
