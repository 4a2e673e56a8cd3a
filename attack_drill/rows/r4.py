"""R4: whoever stole a source's storage identity changes the bucket's settings, or deletes the bucket."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, judged, not_played
from attack_drill.options import Level
from attack_drill.rows.r1 import FORCE
from attack_drill.stolen_identity import (
    Calls,
    abbreviate,
    api_call,
    call_with_headers,
    check_listing,
    judge_answer,
    open_caller,
    why_unreachable,
)
from attack_drill.storage_admin import SETTINGS, StorageAdmin

ATTACKER = "attacker"


def harmless(bucket: str, lock: Mapping[str, Any] | None) -> Calls:
    """Settings set to what they are already, and the deletion of a bucket that is not empty, which no storage does."""
    calls: Calls = {
        "versioning as it is": api_call(
            "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        ),
        "delete the bucket, which is not empty": api_call("delete_bucket", Bucket=bucket),
    }
    if lock is not None:
        calls["the lock as it is"] = api_call(
            "put_object_lock_configuration", Bucket=bucket, ObjectLockConfiguration=lock
        )
    return calls


Puts = dict[str, tuple[str, dict[str, Any]]]
"""Attempt -> the client's method and its arguments beside the bucket."""


def harmful(bucket: str) -> Calls:
    """Changes of everything that can be set on a bucket."""
    puts: Puts = (
        _change_versions_and_locks()
        | _change_policy(bucket)
        | _change_copies_and_keys()
        | _change_access()
        | _change_all_else(bucket)
    )

    def call(name: str, words: dict[str, Any]) -> Any:
        return lambda s3: getattr(s3, name)(Bucket=bucket, **words)

    return {name: call(*one) for name, one in puts.items()} | {
        "delete the bucket by force": lambda s3: call_with_headers(
            s3, "DeleteBucket", FORCE, lambda: s3.delete_bucket(Bucket=bucket)
        )
    }


def _change_versions_and_locks() -> Puts:
    def expire(**rule: Any) -> dict[str, Any]:
        return {"Rules": [{"ID": ATTACKER, "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}]}

    versions = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    rules = {
        "lifecycle: everything expires tomorrow": expire(Expiration={"Days": 1}),
        "lifecycle: old versions expire tomorrow": expire(**versions),
        "lifecycle: both": expire(Expiration={"Days": 1}, **versions),
        "lifecycle: delete markers without versions expire": expire(
            Expiration={"ExpiredObjectDeleteMarker": True}
        ),
    }
    locks: dict[str, dict[str, Any]] = {"no default lock": {"ObjectLockEnabled": "Enabled"}}
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        rule = {"DefaultRetention": {"Mode": mode, "Days": 2}}
        locks[f"another default lock, {mode.lower()}"] = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    return {
        "suspend versioning": ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
        "suspend versioning and enable MFA delete": (
            "put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended", "MFADelete": "Enabled"}},
        ),
        **{name: ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": one}) for name, one in rules.items()},
        "no lifecycle": ("delete_bucket_lifecycle", {}),
        **{name: ("put_object_lock_configuration", {"ObjectLockConfiguration": one}) for name, one in locks.items()},
    }  # fmt: skip


def _change_policy(bucket: str) -> Puts:
    everybody = {"Effect": "Allow", "Principal": "*", "Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    shut_out = json.dumps({"Version": "2012-10-17", "Statement": [{**everybody, "Effect": "Deny"}]})
    return {
        "policy: everybody may do everything": ("put_bucket_policy", {"Policy": policy}),
        "policy: nobody may do anything": ("put_bucket_policy", {"Policy": shut_out}),
        "no policy": ("delete_bucket_policy", {}),
    }


def _change_copies_and_keys() -> Puts:
    replicate = {
        "Role": "arn:aws:iam::000000000000:role/attacker",
        "Rules": [
            {
                "Status": "Enabled", "Priority": 1, "Filter": {"Prefix": ""}, "DeleteMarkerReplication": {"Status": "Disabled"},
                "Destination": {"Bucket": "arn:aws:s3:::attacker"},
            }
        ],
    }  # fmt: skip
    key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:000000000000:key/attacker"}
    return {
        "replication elsewhere": ("put_bucket_replication", {"ReplicationConfiguration": replicate}),
        "no replication": ("delete_bucket_replication", {}),
        "encryption with the attacker's key": (
            "put_bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": key}]}},
        ),
        "other encryption": (
            "put_bucket_encryption",
            {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}},
        ),
        "no encryption": ("delete_bucket_encryption", {}),
    }  # fmt: skip


def _change_access() -> Puts:
    return {
        "ownership": ("put_bucket_ownership_controls", {"OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}}),
        "no ownership": ("delete_bucket_ownership_controls", {}),
        "public access": (
            "put_public_access_block",
            {"PublicAccessBlockConfiguration": dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)},
        ),
        "no public access block": ("delete_public_access_block", {}),
        "public list": ("put_bucket_acl", {"ACL": "public-read"}),
        "public write": ("put_bucket_acl", {"ACL": "public-read-write"}),
    }  # fmt: skip


def _change_all_else(bucket: str) -> Puts:
    return {
        "events to the attacker": (
            "put_bucket_notification_configuration",
            {"NotificationConfiguration": {"QueueConfigurations": [{"QueueArn": "arn:minio:sqs::1:webhook", "Events": ["s3:ObjectCreated:*"]}]}},
        ),
        "no events": ("put_bucket_notification_configuration", {"NotificationConfiguration": {}}),
        "tags": ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": ATTACKER, "Value": ATTACKER}]}}),
        "no tags": ("delete_bucket_tagging", {}),
        "cors": ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}}),
        "website": ("put_bucket_website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "x"}}}),
        "logs into itself": ("put_bucket_logging", {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": ""}}}),
        "acceleration": ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}}),
        "requester pays": ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
        "archive what is rarely read": (
            "put_bucket_intelligent_tiering_configuration",
            {"Id": ATTACKER, "IntelligentTieringConfiguration": {
                "Id": ATTACKER, "Status": "Enabled", "Tierings": [{"Days": 180, "AccessTier": "DEEP_ARCHIVE_ACCESS"}]}},
        ),
    }  # fmt: skip


def put_back(storage: StorageAdmin, before: Mapping[str, str], lock: Mapping[str, Any] | None) -> list[str]:
    """Undo what a successful attack changed, where that is simple. Returns the names of settings that still differ."""
    bucket = storage.where.bucket

    def back(s3: Any) -> None:
        steps: Calls = {
            "versioning": api_call("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
            "object lock": api_call("put_object_lock_configuration", Bucket=bucket, ObjectLockConfiguration=lock),
            "lifecycle": api_call("delete_bucket_lifecycle", Bucket=bucket),
            "policy": api_call("delete_bucket_policy", Bucket=bucket),
            "replication": api_call("delete_bucket_replication", Bucket=bucket),
            "encryption": api_call("delete_bucket_encryption", Bucket=bucket),
            "tags": api_call("delete_bucket_tagging", Bucket=bucket),
        }  # fmt: skip
        for name, step in steps.items():
            # A setting that had a value before is not restored, because its value is not known here.
            if now[name] != before[name] and (
                before[name].startswith("NoSuch") or name in ("versioning", "object lock")
            ):
                with suppress(ClientError):
                    step(s3)

    now = storage.settings()
    storage.call(back)
    now = storage.settings()
    return [name for name in SETTINGS if now[name] != before[name]]


def _lock(storage: StorageAdmin) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = storage.call(
            lambda s3: s3.get_object_lock_configuration(Bucket=storage.where.bucket)[
                "ObjectLockConfiguration"
            ]
        )
    except ClientError:
        return None
    return found


def another_bucket(name: str) -> Calls:
    return {"create another bucket": api_call("create_bucket", Bucket=name)}


def play(drill: Drill) -> Iterator[RowFinding]:
    key = drill.stolen_key()
    if why := why_unreachable(drill, key):
        yield not_played("calls with the stolen identity", why)
        return
    with open_caller(drill, key) as storage:
        bucket = storage.where.bucket
        yield check_listing(storage, key, drill.path())
        lock = _lock(storage)
        trial = drill.may(Level.TRIAL) and drill.storage is not None
        before = storage.settings() if drill.storage else {}
        new = f"drill-{secrets.token_hex(6)}"
        try:
            for name, code in storage.try_calls(harmless(bucket, lock), key).items():
                yield judge_answer(name, code)
            if trial:
                for name, code in storage.try_calls(harmful(bucket) | another_bucket(new), key).items():
                    yield judge_answer(name, code)
            else:
                yield not_played(
                    "changing the bucket's settings, and creating another bucket", Level.TRIAL.words
                )
            if drill.storage is None:
                yield not_played("the settings afterwards", "needs a storage key (--storage-key, --sandbox)")
                return
            now = storage.settings()
            changed = [name for name, was in before.items() if now[name] != was]
            words = abbreviate(changed) if changed else f"{len(before)} settings as before"
            yield judged("the bucket's settings afterwards, as its administrator sees them", not changed, words)  # fmt: skip
        finally:
            if trial:
                with suppress(ClientError):
                    storage.call(api_call("delete_bucket", Bucket=new))
                if rest := put_back(storage, before, lock):
                    drill.say(f"these settings were not restored after the attack: {', '.join(rest)}")
