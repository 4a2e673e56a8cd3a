"""Buckets and their settings, one resource per setting."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.aws.double import mirror
from tests.aws.double.cloud import Cloud, tag_list
from tests.aws.double.kinds import Kind, Made, words
from tests.aws.double.names import camel, only, pascal
from tests.aws.double.refused import Refused
from tests.aws.double.wire import Props

OWNER = "expectedBucketOwner"
SPECIAL = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}


def _missing(error: ClientError) -> bool:
    code = error.response["Error"]["Code"]
    return code.startswith(("NoSuch", "404")) or code.endswith(("NotFound", "NotFoundError"))


def _make_bucket(cloud: Cloud, props: Props) -> Made:
    name = props["bucket"]
    place = (
        {}
        if cloud.region == "us-east-1"
        else {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
    )
    locked = bool(props.get("objectLockEnabled"))
    s3 = cloud.client("s3")
    # AWS's first region answers as if all was well; the provider then asks who owns the bucket.
    if any(one["Name"] == name for one in s3.list_buckets()["Buckets"]):
        raise Refused(
            f"api error BucketAlreadyOwnedByYou: {name}: your previous request to create the named bucket succeeded and you already own it."
        )
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked, **place)
    mirror.bucket_made(cloud, name, locked=locked)
    _tag(cloud, name, props)
    return name, _bucket_outputs(cloud, name)


def _bucket_outputs(cloud: Cloud, name: str) -> Props:
    return {
        "arn": f"arn:aws:s3:::{name}",
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{cloud.region}.amazonaws.com",
        "hostedZoneId": "Z0",
    }


def _tag(cloud: Cloud, name: str, props: Props) -> None:
    tags = tag_list(cloud.tags(props))
    if tags:
        cloud.client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    else:
        cloud.client("s3").delete_bucket_tagging(Bucket=name)


def _read_bucket(cloud: Cloud, name: str, state: Props) -> Props | None:
    s3 = cloud.client("s3")
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        if _missing(error):
            return None
        raise
    try:
        locked = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    except ClientError:
        locked = {}
    # Not read from AWS, as in the provider: only this program says what a destroy may do.
    kept = only(state, "forceDestroy", "tags")
    found = {"bucket": name, "objectLockEnabled": locked.get("ObjectLockEnabled") == "Enabled"}
    return {**found, **kept, **_bucket_outputs(cloud, name)}


def _update_bucket(cloud: Cloud, name: str, old: Props, new: Props) -> Props:  # noqa: ARG001
    _tag(cloud, name, new)
    return {}


def _drop_bucket(cloud: Cloud, name: str, state: Props) -> None:
    s3, force = cloud.client("s3"), bool(state.get("forceDestroy"))
    mirror.bucket_gone(cloud, name, force=force)
    try:
        if force:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
                for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    s3.delete_object(
                        Bucket=name,
                        Key=one["Key"],
                        VersionId=one["VersionId"],
                        BypassGovernanceRetention=True,
                    )
        s3.delete_bucket(Bucket=name)
    except ClientError as error:
        if not _missing(error):
            raise


def _setting(
    takes: str,
    put: Callable[[Any, str, Props], Any],
    get: Callable[[Any, str], Props],
    drop: Callable[[Any, str], Any] | None,
    then: Callable[[Cloud, str, Props], None] = lambda *_: None,
) -> Kind:
    """A setting of a bucket, whose id is the bucket's name; the same call creates and updates it."""

    def create(cloud: Cloud, props: Props) -> Made:
        update(cloud, props["bucket"], {}, props)
        return props["bucket"], {}

    def read(cloud: Cloud, name: str, state: Props) -> Props | None:  # noqa: ARG001
        try:
            return {"bucket": name, **get(cloud.client("s3"), name)}
        except ClientError as error:
            if _missing(error):
                return None
            raise

    def update(cloud: Cloud, name: str, old: Props, new: Props) -> Props:  # noqa: ARG001
        put(cloud.client("s3"), name, new)
        then(cloud, name, new)
        return {}

    def delete(cloud: Cloud, name: str, state: Props) -> None:  # noqa: ARG001
        if drop is None:
            return
        try:
            drop(cloud.client("s3"), name)
        except ClientError as error:
            if not _missing(error):
                raise

    return Kind(
        takes=words(f"bucket {OWNER} {takes}"),
        create=create,
        read=read,
        update=update,
        delete=delete,
        new=words(f"bucket {OWNER}"),
    )


def _rules(props: Props) -> list[Props]:
    """Lifecycle rules in the API's form, with a filter in every rule."""
    rules = pascal(props["rules"], SPECIAL)
    for rule in rules:
        rule.setdefault("Filter", {"Prefix": ""})
    return rules  # type: ignore[no-any-return]


def _lock(found: Props) -> Props:
    """moto also returns the unused unit as a null."""
    rule = (found.get("Rule") or {}).get("DefaultRetention")
    retention = {name: value for name, value in camel(rule or {}).items() if value}
    return {
        "objectLockEnabled": "Enabled",
        **({"rule": {"defaultRetention": retention}} if retention else {}),
    }


BLOCK = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

KINDS: dict[str, Kind] = {
    "aws:s3/bucket:Bucket": Kind(
        takes=words("bucket forceDestroy objectLockEnabled tags"),
        create=_make_bucket,
        read=_read_bucket,
        update=_update_bucket,
        delete=_drop_bucket,
        new=words("bucket objectLockEnabled"),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _setting(
        "versioningConfiguration",
        lambda s3, name, new: s3.put_bucket_versioning(
            Bucket=name, VersioningConfiguration=pascal(new["versioningConfiguration"])
        ),
        lambda s3, name: {
            "versioningConfiguration": {"status": s3.get_bucket_versioning(Bucket=name).get("Status", "")}
        },
        # The provider suspends versioning on delete, which a bucket with Object Lock refuses, so it is left unchanged.
        None,
    ),
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": _setting(
        "objectLockEnabled rule",
        lambda s3, name, new: s3.put_object_lock_configuration(
            Bucket=name,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", **pascal(only(new, "rule"))},
        ),
        lambda s3, name: _lock(s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]),
        lambda s3, name: s3.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
        ),
        lambda cloud, name, new: mirror.lock_set(
            cloud, name, (new.get("rule") or {}).get("defaultRetention")
        ),
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _setting(
        f"{' '.join(BLOCK)} skipDestroy",
        lambda s3, name, new: s3.put_public_access_block(
            Bucket=name, PublicAccessBlockConfiguration=pascal(only(new, *BLOCK))
        ),
        lambda s3, name: camel(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]),
        lambda s3, name: s3.delete_public_access_block(Bucket=name),
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _setting(
        "rule",
        lambda s3, name, new: s3.put_bucket_ownership_controls(
            Bucket=name, OwnershipControls={"Rules": [pascal(new["rule"])]}
        ),
        lambda s3, name: {
            "rule": camel(s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"][0])
        },
        lambda s3, name: s3.delete_bucket_ownership_controls(Bucket=name),
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _setting(
        "rules",
        lambda s3, name, new: s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [
                    pascal(only(rule, "applyServerSideEncryptionByDefault", "bucketKeyEnabled"), SPECIAL)
                    for rule in new["rules"]
                ]
            },
        ),
        lambda s3, name: camel(
            s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"], SPECIAL
        ),
        lambda s3, name: s3.delete_bucket_encryption(Bucket=name),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _setting(
        "policy",
        lambda s3, name, new: s3.put_bucket_policy(Bucket=name, Policy=_text(new["policy"])),
        lambda s3, name: {"policy": s3.get_bucket_policy(Bucket=name)["Policy"]},
        lambda s3, name: s3.delete_bucket_policy(Bucket=name),
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _setting(
        "rules transitionDefaultMinimumObjectSize",
        lambda s3, name, new: s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": _rules(new)}
        ),
        lambda s3, name: {
            "rules": camel(s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"], SPECIAL)
        },
        lambda s3, name: s3.delete_bucket_lifecycle(Bucket=name),
    ),
    "aws:s3/bucketNotification:BucketNotification": _setting(
        "eventbridge topics queues lambdaFunctions",
        lambda s3, name, new: s3.put_bucket_notification_configuration(
            Bucket=name,
            NotificationConfiguration={
                **({"EventBridgeConfiguration": {}} if new.get("eventbridge") else {}),
                **(
                    {
                        "TopicConfigurations": [
                            {"TopicArn": one["topicArn"], "Events": one["events"]} for one in new["topics"]
                        ]
                    }
                    if new.get("topics")
                    else {}
                ),
            },
        ),
        lambda s3, name: {
            "eventbridge": "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=name)
        },
        lambda s3, name: s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={}),
    ),
}


def _text(policy: Any) -> str:
    """A policy may be a text or, from a program that gives a mapping, the document itself."""
    return policy if isinstance(policy, str) else json.dumps(policy)
