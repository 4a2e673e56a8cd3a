"""The attempts of whoever stole a storage identity, row by row. Each call goes directly to the storage's API, without rclone."""

from __future__ import annotations

import datetime
import json
from typing import Any

from tests.enforced.vault import LOCK, OBJECTS, Calls, Vault

MINE = [f"web1/{name}" for name in OBJECTS]


def in_days(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def r1_delete_every_object(s3: Any, vault: Vault) -> Calls:
    bucket = vault.bucket
    calls: dict[str, Any] = {
        f"delete {key}": lambda key=key: s3.delete_object(Bucket=bucket, Key=key) for key in MINE
    }
    batch = {"Objects": [{"Key": key} for key in MINE]}
    return {**calls, "delete all at once": lambda: s3.delete_objects(Bucket=bucket, Delete=batch)}


def r2_undo_the_lock(s3: Any, vault: Vault) -> Calls:
    """On each version: delete, singly, with bypass and in a batch; shorten and remove the retention, set a hold."""
    bucket, calls = vault.bucket, {}
    mine = [version for version in vault.versions() if version["Key"].startswith("web1/")]
    for number, version in enumerate(mine):
        at: dict[str, Any] = {"Bucket": bucket, **version}
        shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(0.01)}
        calls |= {
            f"delete version {number}": lambda at=at: s3.delete_object(**at),
            f"delete version {number} with bypass": lambda at=at: s3.delete_object(
                **at, BypassGovernanceRetention=True
            ),
            f"shorten {number}": lambda at=at, r=shorter: s3.put_object_retention(**at, Retention=r),
            f"shorten {number} with bypass": lambda at=at, r=shorter: s3.put_object_retention(
                **at, Retention=r, BypassGovernanceRetention=True
            ),
            f"hold {number}": lambda at=at: s3.put_object_legal_hold(**at, LegalHold={"Status": "ON"}),
            f"release {number}": lambda at=at: s3.put_object_legal_hold(**at, LegalHold={"Status": "OFF"}),
        }
    calls["delete all versions at once with bypass"] = lambda: s3.delete_objects(
        Bucket=bucket, Delete={"Objects": mine}, BypassGovernanceRetention=True
    )
    calls["write with a hold"] = lambda: s3.put_object(
        Bucket=bucket, Key="web1/g1/data/ab/held", Body=b"x", ObjectLockLegalHoldStatus="ON"
    )
    return calls


EXPIRE_TOMORROW = {
    "Rules": [
        {
            "ID": "gone",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Days": 1},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        }
    ]
}
REPLICATE_ELSEWHERE = {
    "Role": "arn:aws:iam::000000000000:role/attacker",
    "Rules": [
        {
            "Status": "Enabled",
            "Priority": 1,
            "Filter": {"Prefix": ""},
            "DeleteMarkerReplication": {"Status": "Disabled"},
            "Destination": {"Bucket": "arn:aws:s3:::attacker"},
        }
    ],
}


def _open_to_all(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{bucket}/*",
            }
        ],
    }


def r4_change_the_bucket(s3: Any, vault: Vault) -> Calls:
    bucket = vault.bucket
    lock = {"ObjectLockEnabled": "Enabled"}
    lock_short = {**lock, "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}}
    encrypt = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    closed = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False
    )
    return {
        "suspend versioning": lambda: s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
        ),
        "no lifecycle": lambda: s3.delete_bucket_lifecycle(Bucket=bucket),
        "lifecycle": lambda: s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration=EXPIRE_TOMORROW
        ),
        "lock without a default": lambda: s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration=lock
        ),
        "another lock": lambda: s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration=lock_short
        ),
        "no policy": lambda: s3.delete_bucket_policy(Bucket=bucket),
        "policy": lambda: s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(_open_to_all(bucket))),
        "no replication": lambda: s3.delete_bucket_replication(Bucket=bucket),
        "replication": lambda: s3.put_bucket_replication(
            Bucket=bucket, ReplicationConfiguration=REPLICATE_ELSEWHERE
        ),
        "no encryption": lambda: s3.delete_bucket_encryption(Bucket=bucket),
        "encryption": lambda: s3.put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration=encrypt
        ),
        "ownership": lambda: s3.put_bucket_ownership_controls(
            Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        ),
        "no public access block": lambda: s3.delete_public_access_block(Bucket=bucket),
        "public access": lambda: s3.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration=closed
        ),
        "public list": lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"),
        "delete the bucket": lambda: s3.delete_bucket(Bucket=bucket),
    }


def r5_lock_for_decades(s3: Any, vault: Vault) -> Calls:
    bucket, new = vault.bucket, "web1/g1/data/ab/decades"
    long = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_days(9999)}

    def in_parts() -> Any:
        made = s3.create_multipart_upload(Bucket=bucket, Key=f"{new}-parts", **long)
        at = {"Bucket": bucket, "Key": f"{new}-parts", "UploadId": made["UploadId"]}
        part = s3.upload_part(**at, PartNumber=1, Body=b"x")
        return s3.complete_multipart_upload(
            **at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        )

    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(9999)}
    return {
        "write": lambda: s3.put_object(Bucket=bucket, Key=new, Body=b"x", **long),
        "write in parts": in_parts,
        "copy": lambda: s3.copy_object(
            Bucket=bucket, Key=f"{new}-copy", CopySource={"Bucket": bucket, "Key": MINE[0]}, **long
        ),
        "extend": lambda: s3.put_object_retention(Bucket=bucket, Key=MINE[0], Retention=retention),
    }


def r8_reach_into(s3: Any, vault: Vault, prefix: str = "db1") -> Calls:
    """With web1's identity: list, read, write and delete below another source's prefix, in parts and by copies."""
    bucket, at = vault.bucket, {"Bucket": vault.bucket, "Key": f"{prefix}/{OBJECTS[0]}"}
    source = {"Bucket": bucket, "Key": at["Key"]}
    listings = ("", prefix, f"{prefix}/", f"{prefix}/g1/", "web", "web1", "web10/")
    calls: dict[str, Any] = {
        f"list {prefix!r}": lambda prefix=prefix: s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        for prefix in listings
    }
    version = next(v["VersionId"] for v in vault.versions() if v["Key"] == at["Key"])
    return {
        **calls,
        "list all": lambda: s3.list_objects_v2(Bucket=bucket),
        "list versions": lambda: s3.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/"),
        "list uploads": lambda: s3.list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}/"),
        "read": lambda: s3.get_object(**at),
        "read a version": lambda: s3.get_object(**at, VersionId=version),
        "look": lambda: s3.head_object(**at),
        "read retention": lambda: s3.get_object_retention(**at),
        "copy to my prefix": lambda: s3.copy_object(
            Bucket=bucket, Key="web1/g1/data/ab/loot", CopySource=source
        ),
        "copy over": lambda: s3.copy_object(**at, CopySource={"Bucket": bucket, "Key": MINE[0]}),
        "write": lambda: s3.put_object(Bucket=bucket, Key=f"{prefix}/g1/data/ab/evil", Body=b"x"),
        "overwrite": lambda: s3.put_object(**at, Body=b"x"),
        "write in parts": lambda: s3.create_multipart_upload(Bucket=bucket, Key=f"{prefix}/g1/data/ab/evil"),
        "write beside": lambda: s3.put_object(Bucket=bucket, Key="web10/g1/config", Body=b"x"),
        "tag": lambda: s3.put_object_tagging(**at, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        "delete": lambda: s3.delete_object(**at),
        "delete a lock": lambda: s3.delete_object(Bucket=bucket, Key=f"{prefix}/{LOCK}"),
        "delete a version": lambda: s3.delete_object(**at, VersionId=version),
    }
