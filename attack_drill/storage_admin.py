"""The storage as its administrator sees it, which is what attempts are judged by. Calls run in a thread of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ops.storage.access import StorageKey, StorageLocation
from ops.storage.client import make_client

T = TypeVar("T")
MARKER = "delete marker"
ATTEMPTS = 2  # a refused call is not repeated again and again
# The settings of a bucket, and the client library's call that reads each.
SETTINGS = {
    "versioning": "get_bucket_versioning",
    "object lock": "get_object_lock_configuration",
    "lifecycle": "get_bucket_lifecycle_configuration",
    "policy": "get_bucket_policy",
    "encryption": "get_bucket_encryption",
    "replication": "get_bucket_replication",
    "ownership": "get_bucket_ownership_controls",
    "public access block": "get_public_access_block",
    "acl": "get_bucket_acl",
    "notification": "get_bucket_notification_configuration",
    "tags": "get_bucket_tagging",
    "cors": "get_bucket_cors",
    "website": "get_bucket_website",
    "logging": "get_bucket_logging",
    "acceleration": "get_bucket_accelerate_configuration",
    "who pays": "get_bucket_request_payment",
}


@dataclass(frozen=True, kw_only=True)
class StoredVersion:
    """One version or delete marker.

    Args:
        key: The object's name.
        version: The version's id.
        digest: SHA-256 of the content if it was read, else the storage's ETag and the size; `MARKER` for a delete marker.
        latest: Whether it is the current version.
    """

    key: str
    version: str
    digest: str
    latest: bool

    @property
    def marker(self) -> bool:
        return self.digest == MARKER


@dataclass(kw_only=True)
class StorageAdmin:
    """Makes all calls of one drill to the storage.

    Args:
        where: The storage; its endpoint is as the calling thread reaches it.
        admin: The administrator's key.
        ca: The certificate authority to trust, None for the system's.
    """

    where: StorageLocation
    admin: StorageKey = field(repr=False)
    ca: Path | None
    _thread: ThreadPoolExecutor = field(repr=False)

    def __post_init__(self) -> None:
        self._s3 = make_client(self.where, self.admin, self.ca, attempts=ATTEMPTS)

    def call(self, work: Callable[[Any], T], key: StorageKey | None = None) -> T:
        """Call ``work`` with a client that uses the administrator's key, or ``key``."""
        s3 = self._s3 if key is None else make_client(self.where, key, self.ca, attempts=ATTEMPTS)
        return self._thread.submit(work, s3).result()

    def try_calls(self, calls: Mapping[str, Callable[[Any], object]], key: StorageKey) -> dict[str, str]:
        """Make each call once with ``key``. Returns for each "done" or the storage's error code."""

        def all_of_them(s3: Any) -> dict[str, str]:
            return {name: _code(call, s3) for name, call in calls.items()}

        return self.call(all_of_them, key)

    def versions(self, prefix: str, *, contents: bool = True, locks: bool = False) -> list[StoredVersion]:
        """All versions and delete markers below a prefix, sorted by name.

        Args:
            prefix: Where to look.
            contents: Whether to read every version for its digest.
            locks: Whether to include restic's lock files, which a source may create and remove.
        """

        def listed(s3: Any) -> list[StoredVersion]:
            found = []
            pages = s3.get_paginator("list_object_versions").paginate(Bucket=self.where.bucket, Prefix=prefix)
            for page in pages:
                for row in page.get("Versions", []):
                    if not locks and "/locks/" in row["Key"]:
                        continue
                    digest = f"{row.get('ETag', '')} {row.get('Size', 0)}"
                    if contents:
                        at = {
                            "Bucket": self.where.bucket,
                            "Key": row["Key"],
                            "VersionId": row["VersionId"],
                        }
                        digest = hashlib.sha256(s3.get_object(**at)["Body"].read()).hexdigest()
                    found.append(_stored(row, digest))
                found += [
                    _stored(row, MARKER)
                    for row in page.get("DeleteMarkers", [])
                    if locks or "/locks/" not in row["Key"]
                ]
            return sorted(found, key=lambda one: (one.key, one.version))

        return self.call(listed)

    def settings(self) -> dict[str, str]:
        """The bucket's settings, as text to compare; an error code where a setting does not exist."""

        def asked(s3: Any) -> dict[str, str]:
            found = {}
            for name, call in SETTINGS.items():
                try:
                    answer = getattr(s3, call)(Bucket=self.where.bucket)
                    answer.pop("ResponseMetadata", None)
                    found[name] = repr(sorted(answer.items()))
                except ClientError as error:
                    found[name] = str(error.response.get("Error", {}).get("Code", "unknown"))
            return found

        return self.call(asked)

    def retention(self, stored: Iterable[StoredVersion]) -> dict[tuple[str, str], str]:
        """Mode and date of each version's lock, and its legal hold, by key and version."""

        def asked(s3: Any) -> dict[tuple[str, str], str]:
            found = {}
            for one in stored:
                at = {"Bucket": self.where.bucket, "Key": one.key, "VersionId": one.version}
                said = []
                for call in (s3.get_object_retention, s3.get_object_legal_hold):
                    try:
                        answer = call(**at)
                        answer.pop("ResponseMetadata", None)
                        said.append(repr(answer))
                    except ClientError as error:
                        said.append(str(error.response.get("Error", {}).get("Code", "unknown")))
                found[one.key, one.version] = " ".join(said)
            return found

        return self.call(asked)

    def hide(self, prefix: str) -> int:
        """Put delete markers on all objects below a prefix, which must be a drill's own. Returns how many."""
        if "/drill-" not in f"/{prefix}":
            raise AssertionError("only what a drill made may be hidden")
        names = {
            one.key
            for one in self.versions(prefix, contents=False, locks=True)
            if one.latest and not one.marker
        }

        def hidden(s3: Any) -> int:
            for name in sorted(names):
                s3.delete_object(Bucket=self.where.bucket, Key=name)
            return len(names)

        return self.call(hidden)


def _stored(row: Mapping[str, Any], digest: str) -> StoredVersion:
    return StoredVersion(
        key=row["Key"], version=row["VersionId"], digest=digest, latest=bool(row.get("IsLatest", False))
    )


def _code(call: Callable[[Any], object], s3: Any) -> str:
    try:
        call(s3)
    except ClientError as error:
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    except BotoCoreError as error:
        return f"not sent: {error}"
    return "done"


def find_losses(before: Iterable[StoredVersion], after: Iterable[StoredVersion]) -> list[str]:
    """What happened to the versions of ``before``: gone, changed, or hidden by a newer version or marker. Additions are no loss."""
    was = {(one.key, one.version): one for one in before}
    now = {(one.key, one.version): one for one in after}
    found = []
    for place, one in was.items():
        if place not in now:
            found.append(f"gone: {one.key}")
        elif now[place].digest != one.digest:
            found.append(f"changed: {one.key}")
        elif one.latest and not now[place].latest:
            above = next((new for new in now.values() if new.key == one.key and new.latest), None)
            found.append(
                f"{'hidden' if above is None or above.marker else 'covered by a newer version'}: {one.key}"
            )
    return sorted(found)


@contextmanager
def open_storage_admin(
    where: StorageLocation,
    admin: StorageKey,
    ca: Path | None,
    network: AbstractContextManager[object] | None = None,
) -> Iterator[StorageAdmin]:
    """Start the thread that makes the calls.

    Args:
        where: The storage.
        admin: Its administrator's key.
        ca: The certificate authority to trust, None for the system's.
        network: Entered by the thread, where the storage cannot be reached from this machine's own network.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="storage") as thread:
        if network is not None:
            thread.submit(network.__enter__).result()
        try:
            yield StorageAdmin(where=where, admin=admin, ca=ca, _thread=thread)
        finally:
            if network is not None:
                thread.submit(network.__exit__, None, None, None).result()
