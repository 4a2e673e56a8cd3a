"""R4: who took a source's storage identity changes the bucket: versions, rules, locks, policy, replication, encryption; or deletes it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, judged, not_played
from attack_drill.rows.r1 import FORCE
from attack_drill.storage import SETTINGS, Desk
from attack_drill.thief import Calls, answered, ask, at_most, caller, lists, unreached, with_header

THIEF = "thief"


def harmless(bucket: str, lock: Mapping[str, Any] | None) -> Calls:
    """What stands, set once more; and the deletion of a bucket that is not empty, which no storage does."""
    calls: Calls = {
        "versioning as it is": ask(
            "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        ),
        "delete the bucket, which is not empty": ask("delete_bucket", Bucket=bucket),
    }
    if lock is not None:
        calls["the lock as it is"] = ask(
            "put_object_lock_configuration", Bucket=bucket, ObjectLockConfiguration=lock
        )
    return calls


def harmful(bucket: str) -> Calls:
    """Everything that a bucket can be set to."""
    everybody = {"Effect": "Allow", "Principal": "*", "Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    shut_out = json.dumps({"Version": "2012-10-17", "Statement": [{**everybody, "Effect": "Deny"}]})

    def expire(**rule: Any) -> dict[str, Any]:
        return {"Rules": [{"ID": THIEF, "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}]}

    versions = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    rules = {
        "lifecycle: everything ends tomorrow": expire(Expiration={"Days": 1}),
        "lifecycle: old versions end tomorrow": expire(**versions),
        "lifecycle: both": expire(Expiration={"Days": 1}, **versions),
        "lifecycle: delete markers of nothing go": expire(Expiration={"ExpiredObjectDeleteMarker": True}),
    }
    locks: dict[str, dict[str, Any]] = {"no default lock": {"ObjectLockEnabled": "Enabled"}}
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        rule = {"DefaultRetention": {"Mode": mode, "Days": 2}}
        locks[f"another default lock, {mode.lower()}"] = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    replicate = {
        "Role": "arn:aws:iam::000000000000:role/thief",
        "Rules": [
            {
                "Status": "Enabled", "Priority": 1, "Filter": {"Prefix": ""}, "DeleteMarkerReplication": {"Status": "Disabled"},
                "Destination": {"Bucket": "arn:aws:s3:::thief"},
            }
        ],
    }  # fmt: skip
    key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:000000000000:key/thief"}
    puts: dict[str, tuple[str, dict[str, Any]]] = {
        "suspend versioning": ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
        "suspend versioning and ask for a second factor": (
            "put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended", "MFADelete": "Enabled"}},
        ),
        **{name: ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": one}) for name, one in rules.items()},
        "no lifecycle": ("delete_bucket_lifecycle", {}),
        **{name: ("put_object_lock_configuration", {"ObjectLockConfiguration": one}) for name, one in locks.items()},
        "policy: everybody may do everything": ("put_bucket_policy", {"Policy": policy}),
        "policy: nobody may do anything": ("put_bucket_policy", {"Policy": shut_out}),
        "no policy": ("delete_bucket_policy", {}),
        "replication elsewhere": ("put_bucket_replication", {"ReplicationConfiguration": replicate}),
        "no replication": ("delete_bucket_replication", {}),
        "encryption with the thief's key": (
            "put_bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": key}]}},
        ),
        "other encryption": (
            "put_bucket_encryption",
            {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}},
        ),
        "no encryption": ("delete_bucket_encryption", {}),
        "ownership": ("put_bucket_ownership_controls", {"OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}}),
        "no ownership": ("delete_bucket_ownership_controls", {}),
        "public access": (
            "put_public_access_block",
            {"PublicAccessBlockConfiguration": dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)},
        ),
        "no public access block": ("delete_public_access_block", {}),
        "public list": ("put_bucket_acl", {"ACL": "public-read"}),
        "public write": ("put_bucket_acl", {"ACL": "public-read-write"}),
        "events to the thief": (
            "put_bucket_notification_configuration",
            {"NotificationConfiguration": {"QueueConfigurations": [{"QueueArn": "arn:minio:sqs::1:webhook", "Events": ["s3:ObjectCreated:*"]}]}},
        ),
        "no events": ("put_bucket_notification_configuration", {"NotificationConfiguration": {}}),
        "tags": ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": THIEF, "Value": THIEF}]}}),
        "no tags": ("delete_bucket_tagging", {}),
        "cors": ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}}),
        "website": ("put_bucket_website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "x"}}}),
        "logs into itself": ("put_bucket_logging", {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": ""}}}),
        "acceleration": ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}}),
        "the reader pays": ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
        "archive what is not read": (
            "put_bucket_intelligent_tiering_configuration",
            {"Id": THIEF, "IntelligentTieringConfiguration": {
                "Id": THIEF, "Status": "Enabled", "Tierings": [{"Days": 180, "AccessTier": "DEEP_ARCHIVE_ACCESS"}]}},
        ),
    }  # fmt: skip

    def call(name: str, words: dict[str, Any]) -> Any:
        return lambda s3: getattr(s3, name)(Bucket=bucket, **words)

    return {name: call(*one) for name, one in puts.items()} | {
        "delete the bucket by force": lambda s3: with_header(
            s3, "DeleteBucket", FORCE, lambda: s3.delete_bucket(Bucket=bucket)
        )
    }


def put_back(desk: Desk, before: Mapping[str, str], lock: Mapping[str, Any] | None) -> list[str]:
    """What a succeeded attack set is set back where that is simple; the names of what still differs."""
    bucket = desk.where.bucket

    def back(s3: Any) -> None:
        steps: Calls = {
            "versioning": ask("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
            "object lock": ask("put_object_lock_configuration", Bucket=bucket, ObjectLockConfiguration=lock),
            "lifecycle": ask("delete_bucket_lifecycle", Bucket=bucket),
            "policy": ask("delete_bucket_policy", Bucket=bucket),
            "replication": ask("delete_bucket_replication", Bucket=bucket),
            "encryption": ask("delete_bucket_encryption", Bucket=bucket),
            "tags": ask("delete_bucket_tagging", Bucket=bucket),
        }  # fmt: skip
        for name, step in steps.items():
            # What was a setting of its own is not ours to guess.
            if now[name] != before[name] and (
                before[name].startswith("NoSuch") or name in ("versioning", "object lock")
            ):
                with suppress(ClientError):
                    step(s3)

    now = desk.settings()
    desk.do(back)
    now = desk.settings()
    return [name for name in SETTINGS if now[name] != before[name]]


def _lock(desk: Desk) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = desk.do(
            lambda s3: s3.get_object_lock_configuration(Bucket=desk.where.bucket)["ObjectLockConfiguration"]
        )
    except ClientError:
        return None
    return found


def another_bucket(name: str) -> Calls:
    return {"make a bucket of its own": ask("create_bucket", Bucket=name)}


def play(ground: Ground) -> Iterator[Finding]:
    key = ground.thief()
    if why := unreached(ground, key):
        yield not_played("calls with the stolen identity", why)
        return
    with caller(ground, key) as desk:
        bucket = desk.where.bucket
        yield lists(desk, key, ground.path())
        lock = _lock(desk)
        trial = ground.may(Level.TRIAL) and ground.desk is not None
        before = desk.settings() if ground.desk else {}
        new = f"drill-{secrets.token_hex(6)}"
        try:
            for name, code in desk.tried(harmless(bucket, lock), key).items():
                yield answered(name, code)
            if trial:
                for name, code in desk.tried(harmful(bucket) | another_bucket(new), key).items():
                    yield answered(name, code)
            else:
                yield not_played("changing what the bucket is set to, and making another", Level.TRIAL.words)
            if ground.desk is None:
                yield not_played("the settings afterwards", "that needs --storage-key")
                return
            now = desk.settings()
            changed = [name for name, was in before.items() if now[name] != was]
            words = at_most(changed) if changed else f"{len(before)} settings as before"
            yield judged("the bucket's settings afterwards, as its administrator sees them", not changed, words)  # fmt: skip
        finally:
            if trial:
                with suppress(ClientError):
                    desk.do(ask("delete_bucket", Bucket=new))
                if rest := put_back(desk, before, lock):
                    ground.say(f"not set back after the attack: {', '.join(rest)}")
