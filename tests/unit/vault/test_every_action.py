"""Each action of S3 that changes a bucket or an object is denied to all but break-glass, or was left open for a reason.

The denials are a list, since test engines and auditors read lists; so a new action of AWS must not slip past it. This test knows the actions
from two places that move at their own pace, and fails when either brings one that nobody has judged.
"""

from __future__ import annotations

import botocore.session
import pytest

from components.vault.bucket.bucket_policy import GUARDED_BUCKET_ACTIONS, GUARDED_OBJECT_ACTIONS
from tests.unit.vault.iam import services

GUARDED = {*GUARDED_BUCKET_ACTIONS, *GUARDED_OBJECT_ACTIONS}
OPEN = {
    "a statement of its own binds it": ["PutObject", "DeleteObject"],
    "adds, or ends an upload that is not finished": ["AbortMultipartUpload", "CreateBucket"],
    # ... and default tags of the stack may change without break-glass. No rule of the vault looks at a tag.
    "labels: they change neither what is kept nor who may do what, where there is a denial": [
        "DeleteObjectAnnotation", "DeleteObjectTagging", "DeleteObjectVersionTagging", "PutBucketAbac", "PutBucketTagging",
        "PutObjectAnnotation", "PutObjectTagging", "PutObjectVersionTagging", "ReplicateTags", "TagResource", "UntagResource",
    ],
    # ... and VaultAlarms must be able to come later than the policy. Who may silence it may delete its rules as well.
    "watching: reports, logs, events, metrics": [
        "CreateBucketMetadataTableConfiguration", "DeleteBucketMetadataTableConfiguration", "PutAnalyticsConfiguration", "PutBucketLogging",
        "PutBucketNotification", "PutInventoryConfiguration", "PutMetricsConfiguration", "UpdateBucketMetadataAnnotationTableConfiguration",
        "UpdateBucketMetadataInventoryTableConfiguration", "UpdateBucketMetadataJournalTableConfiguration",
    ],
    "how objects are fetched, not whether they stay": [
        "DeleteBucketWebsite", "PutAccelerateConfiguration", "PutBucketCORS", "PutBucketRequestPayment", "PutBucketWebsite", "RestoreObject",
    ],
    "needs a replication configuration, which is guarded": ["InitiateReplication", "PauseReplication"],
    "directory buckets and Lambda only": ["CreateSession", "RenameObject", "WriteGetObjectResponse"],
}  # fmt: skip
JUDGED = GUARDED | {f"s3:{action}" for actions in OPEN.values() for action in actions}

# Operations whose permission has another name.
PERMISSION = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateBucketMetadataConfiguration": "CreateBucketMetadataTableConfiguration",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketMetadataConfiguration": "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration": "PutInventoryConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketMetricsConfiguration": "PutMetricsConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}


def documented() -> set[str]:
    return {
        f"s3:{name}"
        for name, action in services()["s3"]["privileges"].items()
        if action["access_level"] not in ("Read", "List")
        and {"bucket", "object"} & set(action["resource_types"])
    }


def callable_ones() -> set[str]:
    """What boto3 can call, by the permission that it needs."""
    operations = botocore.session.get_session().get_service_model("s3").operation_names
    changing = [name for name in operations if not name.startswith(("Get", "Head", "List", "Select"))]
    return {f"s3:{PERMISSION.get(name, name)}" for name in changing}


@pytest.mark.parametrize("known", [documented, callable_ones])
def test_every_changing_action_was_judged(known) -> None:  # type: ignore[no-untyped-def]
    assert len(known()) > 40
    assert known() - JUDGED == set()


def test_an_action_that_nobody_judged_fails_this_test() -> None:
    assert documented() - (JUDGED - {"s3:UpdateObjectEncryption"}) == {"s3:UpdateObjectEncryption"}


def test_nothing_is_guarded_and_open_at_once_and_every_guarded_one_exists() -> None:
    assert not GUARDED & {f"s3:{action}" for actions in OPEN.values() for action in actions}
    assert documented() >= GUARDED
