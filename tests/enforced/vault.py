"""A locked bucket with two sources' prefixes, and its real contents: read with the storage's own root key, whatever a call answered."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tests.enforced import documents
from tests.enforced.servers import Identity, Server, Versity

NAME = "ab" * 32
OBJECTS = ("g1/config", f"g1/keys/{NAME}", f"g1/data/ab/{NAME}", f"g1/index/{NAME}", f"g1/snapshots/{NAME}")
LOCK = f"g1/locks/{NAME}"
Calls = Mapping[str, Callable[[], Any]]


def tried(call: Callable[[], Any]) -> str:
    """'done', or the error code. Anything except an answer of the storage fails the test."""
    try:
        answer = call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    errors = answer.get("Errors", []) if isinstance(answer, dict) else []
    return str(errors[0]["Code"]) if errors and not answer.get("Deleted") else "done"


def all_tried(calls: Calls) -> dict[str, str]:
    return {name: tried(call) for name, call in calls.items()}


@dataclass
class Vault:
    """One bucket of one server."""

    server: Server
    bucket: str

    @classmethod
    def make(cls, server: Server, bucket: str, *, mode: str = "GOVERNANCE") -> Vault:
        """Make a bucket with a default Object Lock, and below each prefix one object of each of restic's kinds."""
        server.make_bucket(bucket, mode, 1)
        vault = cls(server, bucket)
        for source in ("web1", "db1"):
            for name in (*OBJECTS, LOCK):
                server.root.put_object(
                    Bucket=bucket, Key=f"{source}/{name}", Body=f"{source} {name}".encode()
                )
        return vault

    def set_policy(self, policy: documents.Document) -> None:
        self.server.root.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))

    def relay(self, source: str = "web1") -> Identity:
        """The relay's identity for a source."""
        return self.server.add_identity(
            f"{source}-{self.bucket}"[:20], documents.identity(self.bucket, source)
        )

    def careless(self, policy: documents.Document | None) -> Identity:
        """An identity with all S3 rights, bound only by the bucket policy, or by nothing if it is None."""
        name, own = f"admin-{self.bucket}"[:20], [documents.EVERYTHING]
        if policy is not None:
            mine = documents.taken(policy, self.server.name)
            if isinstance(self.server, Versity):
                self.set_policy(mine)
                rest = [
                    s for s in policy["Statement"] if "NotResource" in s
                ]  # it does not know these in bucket policies
                own += [documents.as_identity_policy({**policy, "Statement": rest})] if rest else []
            else:
                own.append(documents.as_identity_policy(mine, stranger=True))
        return self.server.add_identity(name, *own)

    def versions(self) -> list[dict[str, str]]:
        pages = self.server.root.get_paginator("list_object_versions").paginate(Bucket=self.bucket)
        return [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for page in pages
            for version in page.get("Versions", [])
        ]

    def state(self) -> dict[str, str]:
        """Every version with its content and locks, every delete marker, every setting."""
        root, found = self.server.root, {}
        for version in self.versions():
            answer = root.get_object(Bucket=self.bucket, **version)
            digest = hashlib.sha256(answer["Body"].read()).hexdigest()
            locks = [
                str(answer.get(f"ObjectLock{name}"))
                for name in ("Mode", "RetainUntilDate", "LegalHoldStatus")
            ]
            found[f"{version['Key']} {version['VersionId']}"] = " ".join([digest, *locks])
        for page in root.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            for marker in page.get("DeleteMarkers", []):
                found[f"marker {marker['Key']}"] = "hidden"
        for setting in (
            "bucket_versioning",
            "object_lock_configuration",
            "bucket_lifecycle_configuration",
            "bucket_policy",
            "bucket_replication",
            "bucket_encryption",
            "bucket_ownership_controls",
            "public_access_block",
            "bucket_acl",
        ):
            try:
                answer = getattr(root, f"get_{setting}")(Bucket=self.bucket)
                answer.pop("ResponseMetadata")
                found[f"setting {setting}"] = str(answer)
            except ClientError as error:
                found[f"setting {setting}"] = str(error.response["Error"]["Code"])
        return found

    def latest_lock(self) -> datetime.timedelta:
        """The furthest retention of any version, as a distance from now."""
        furthest = now = datetime.datetime.now(datetime.UTC)
        for version in self.versions():
            until = self.server.root.head_object(Bucket=self.bucket, **version).get(
                "ObjectLockRetainUntilDate"
            )
            furthest = max(furthest, until or now)
        return furthest - now


def damage(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was lost, changed or hidden. Added objects and hidden restic locks are no damage."""
    lost = [f"lost: {name}" for name in before if name not in after]
    changed = [f"changed: {name}" for name in before if after.get(name, before[name]) != before[name]]
    hidden = [
        f"hidden: {name}"
        for name in after
        if name.startswith("marker ") and "/locks/" not in name and name not in before
    ]
    return sorted(lost + changed + hidden)
