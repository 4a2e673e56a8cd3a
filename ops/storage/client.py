"""The storage's operations for a recovery: list, read, copy, hide, and remove delete markers. No call here deletes a version."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session

from ops.errors import LastcopyError, escape_text
from ops.history.dates import Retention
from ops.history.versions import AREAS, LOCKS, Entry, History, area
from ops.storage.access import RepositoryLocation, StorageKey, StorageLocation

WORKERS = 8
_Item = TypeVar("_Item")
NOTES, NOTE_BYTES = 1000, 1 << 20
_REFUSED = {"AccessDenied", "InvalidRequest", "MethodNotAllowed", "NotImplemented", "ObjectLocked"}
_RIGHTS = (
    "s3:ListBucketVersions, s3:GetObjectVersion, to detect forged dates s3:GetBucketObjectLockConfiguration and s3:GetObjectRetention; for a rebuild also "
    "s3:PutObject, s3:DeleteObject and, to remove delete markers, s3:DeleteObjectVersion"
)


def work_on_each(items: Iterable[_Item], work: Callable[[_Item], object]) -> None:
    """`work` on every item, several at a time. The first error is raised, and nothing is begun after it."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [pool.submit(work, item) for item in items]
        try:
            for future in waiting:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class AccessRefused(LastcopyError):
    """The storage does not allow this key the operation; there may be another way."""


def make_client(where: StorageLocation, key: StorageKey, ca_file: Path | None, *, attempts: int) -> Any:
    """An S3 client that uses nothing of the caller's environment. Its uploads carry a checksum that this service supports."""
    nothing = (None, None, None, None)
    session = botocore.session.Session(
        session_vars={
            "profile": nothing,
            "ca_bundle": nothing,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    checksums: Literal["when_supported", "when_required"] = (
        "when_supported" if where.knows_trailers else "when_required"
    )
    # Without boto3: importing it takes as long as listing a small repository.
    made = session.create_client(
        "s3",
        endpoint_url=where.endpoint,
        region_name=where.region,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key.get_secret_value(),
        verify=str(ca_file) if ca_file else True,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=WORKERS * 2,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            s3={"addressing_style": "auto" if where.provider == "AWS" else "path"},
        ),
    )
    if not where.knows_trailers:
        for operation in ("PutObject", "UploadPart"):
            made.meta.events.register(f"before-call.s3.{operation}", _add_content_md5)
    return made


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Add the checksum that a bucket with a default retention demands: not every service supports the newer ones."""
    digest = hashlib.md5(params["body"] or b"", usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


class Storage:
    """One repository's objects, accessed with the key of ``access``. Nothing is taken from the caller's environment."""

    def __init__(self, access: RepositoryLocation, ca_file: Path | None) -> None:
        self.bucket, self.prefix = access.where.bucket, f"{access.path}/"
        self._access, self._ca_file = access, ca_file
        self._s3 = make_client(access.where, access.key, ca_file, attempts=4)

    def history(self, report: Callable[[int], None] = lambda _: None) -> History:
        """Every version and delete marker of the repository. ``report`` gets the number listed so far."""
        return History(self.entries(self.prefix, report))

    def entries(self, prefix: str, report: Callable[[int], None] = lambda _: None) -> Iterator[Entry]:
        """Every version and delete marker below ``prefix``; their names are relative to it."""
        order = 0
        with _translated("the versions cannot be listed", f"bucket {self.bucket}"):
            pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for marker, rows in (
                    (False, page.get("Versions", [])),
                    (True, page.get("DeleteMarkers", [])),
                ):
                    for row in rows:
                        order += 1
                        yield Entry(
                            name=row["Key"].removeprefix(prefix),
                            id=row["VersionId"],
                            at=row["LastModified"],
                            marker=marker,
                            size=row.get("Size", 0),
                            etag=row.get("ETag", ""),
                            order=order,
                            latest=row.get("IsLatest", False),
                        )
                report(order)

    def clock(self) -> datetime:
        """The storage's own time in whole seconds, for comparison with the times of its objects. Raises LastcopyError."""
        with _translated("the storage cannot be reached", f"bucket {self.bucket}"):
            answer = self._s3.list_object_versions(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            return parsedate_to_datetime(said)
        except ValueError:
            raise LastcopyError(
                "the storage does not report its time", where=f"bucket {self.bucket}"
            ) from None

    def locks(
        self, history: History, report: Callable[[int], None] = lambda _: None
    ) -> tuple[dict[str, datetime], Retention] | None:
        """When the lock of each version outside locks/ ends, and the default retention. None if the bucket has no default retention.

        This takes one request per version; ``report`` gets the number done. Packs with a single version are left out: a forged pack has a name that no
        honest index contains, whatever its date, and forged indexes are not left out.
        """
        with _translated("the bucket's lock cannot be read", f"bucket {self.bucket}"):
            answer = self._s3.get_object_lock_configuration(Bucket=self.bucket)
        rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
        retention = Retention(days=rule.get("Days", 0), years=rule.get("Years", 0))
        if not retention.days and not retention.years:
            return None
        found: dict[str, datetime] = {}

        heads = LockReader(self._access, self._ca_file)

        def ask(entry: Entry) -> tuple[str, datetime | None]:
            key = self.prefix + entry.name
            until = heads.lock_of(key, entry.id)
            if until is not None:
                return entry.id, until
            # No lock, or an unexpected answer: repeat it with the client's own error handling.
            with _translated(f"the lock of {escape_text(entry.name)} cannot be read", self.bucket):
                head = self._s3.head_object(Bucket=self.bucket, Key=key, VersionId=entry.id)
            return entry.id, head.get("ObjectLockRetainUntilDate")

        versions = [
            entry
            for name, entries in history.names.items()
            if not name.startswith(LOCKS) and (area(name) != "data" or _versions(entries) > 1)
            for entry in entries
            if not entry.marker
        ]
        with ThreadPoolExecutor(WORKERS) as pool:
            for done, (version, until) in enumerate(pool.map(ask, versions), start=1):
                if until is not None:
                    found[version] = until
                report(done)
        return found, retention

    def parts(self, entry: Entry, first: int, last: int, size: int) -> Iterator[bytes]:
        """One version's content from byte ``first`` to ``last``, in chunks of ``size`` bytes."""
        with _translated(f"{escape_text(entry.name)} cannot be read", self.bucket):
            answer = self._s3.get_object(
                Bucket=self.bucket,
                Key=self.prefix + entry.name,
                VersionId=entry.id,
                Range=f"bytes={first}-{last}",
            )
            yield from answer["Body"].iter_chunks(size)

    def read(self, entry: Entry) -> bytes:
        """One version's content."""
        with _translated(f"{escape_text(entry.name)} cannot be read", self.bucket):
            answer = self._s3.get_object(Bucket=self.bucket, Key=self.prefix + entry.name, VersionId=entry.id)
            return bytes(answer["Body"].read())

    def same(self, now: Entry, then: Entry) -> bool:
        """Whether two versions of equal size have the same content. restic's names are the content's SHA-256."""
        content = self.read(now)
        if area(then.name) in AREAS[1:]:
            return hashlib.sha256(content).hexdigest() == then.name.rsplit("/", 1)[-1]
        return content == self.read(then)

    def copy(self, good: Entry) -> None:
        """Make the good version the newest of its name. The storage copies it; no data passes through here."""
        key = self.prefix + good.name
        origin = {"Bucket": self.bucket, "Key": key, "VersionId": good.id}
        with _translated(f"{escape_text(good.name)} cannot be copied", self.bucket):
            if good.size < 5 << 30:
                self._s3.copy_object(Bucket=self.bucket, Key=key, CopySource=origin)
            else:  # larger than what one request can copy
                from s3transfer.manager import TransferManager

                with TransferManager(self._s3) as manager:
                    manager.copy(origin, self.bucket, key).result()

    def remove_marker(self, marker: Entry) -> None:
        """Remove one delete marker. Versions cannot be removed here, whatever the caller passes."""
        if not marker.marker:
            raise AssertionError("only delete markers are removed")
        with _translated(f"the delete marker of {escape_text(marker.name)} cannot be removed", self.bucket):
            self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + marker.name, VersionId=marker.id)

    def hide(self, name: str) -> None:
        """Put a delete marker on top of the name; its versions are kept."""
        with _translated(f"{escape_text(name)} cannot be hidden", self.bucket):
            self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def notes(self, folder: str) -> list[dict[str, Any]]:
        """The JSON notes of one of our folders outside the sources' prefixes, newest first. Invalid JSON is ignored."""
        found: list[dict[str, Any]] = []
        with _translated("the notes cannot be listed", f"bucket {self.bucket}"):
            pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=folder)
            rows = [row for page in pages for row in page.get("Versions", []) if row["Size"] <= NOTE_BYTES]
            rows.sort(key=lambda row: row["LastModified"], reverse=True)
            for row in rows[:NOTES]:  # a limit, because an attacker may write a flood of notes
                answer = self._s3.get_object(Bucket=self.bucket, Key=row["Key"], VersionId=row["VersionId"])
                try:
                    note = json.loads(answer["Body"].read())
                except ValueError:
                    continue
                if isinstance(note, dict):
                    found.append(note)
        return found

    def write_note(self, key: str, note: dict[str, Any], what: str = "the note of this recovery") -> None:
        body = json.dumps(note, sort_keys=True).encode()
        if len(body) > NOTE_BYTES:
            raise AssertionError("the note is too large to be read again")
        with _translated(f"{what} cannot be written", f"bucket {self.bucket}"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)


class LockReader:
    """Reads locks by HEAD requests with botocore's signer and sender but without its client, which is slow for so many requests.

    For storages with the bucket in the path, which is how all but AWS are used (``make_client``).
    """

    def __init__(self, access: RepositoryLocation, ca_file: Path | None) -> None:
        where, key = access.where, access.key
        self._root = f"{where.endpoint}/{quote(where.bucket)}/"
        credentials = Credentials(key.access_key_id, key.secret_access_key.get_secret_value())
        self._signer = S3SigV4Auth(credentials, "s3", where.region)
        self._http = URLLib3Session(
            verify=str(ca_file) if ca_file else True,  # type: ignore[arg-type]  # a file is taken, whatever its stubs say
            timeout=60,
            max_pool_connections=WORKERS,
        )

    def lock_of(self, key: str, version: str) -> datetime | None:
        """When the version's lock ends; None if there was no such answer, for any reason."""
        request = AWSRequest("HEAD", f"{self._root}{quote(key)}?versionId={quote(version, safe='')}")
        try:
            self._signer.add_auth(request)
            answer = self._http.send(request.prepare())
            text = answer.headers.get("x-amz-object-lock-retain-until-date", "")
            return datetime.fromisoformat(text) if answer.status_code == 200 and text else None
        except (BotoCoreError, ValueError):
            return None


def _versions(entries: Sequence[Entry]) -> int:
    return sum(not entry.marker for entry in entries)


@contextmanager
def _translated(what: str, where: str) -> Iterator[None]:
    """Translate the client's errors into ours. Their text contains no secret."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in _REFUSED or code == "403":
            raise AccessRefused(
                f"{what}: the storage refuses it ({escape_text(code)})",
                where=where,
                fix=f"use an identity with the rights {_RIGHTS}",
            ) from None
        fixes = {
            "InvalidAccessKeyId": "the access key id is unknown to this storage: give the right --storage-key",
            "SignatureDoesNotMatch": "the secret does not match the access key id: give the right --storage-key",
            "NoSuchBucket": "compare the bucket's name with the stack file",
            "RequestTimeTooSkewed": "set this machine's clock",
        }
        raise LastcopyError(f"{what}: {escape_text(code)}", where=where, fix=fixes.get(code, "")) from None
    except BotoCoreError as error:
        fix = "check that this machine can reach the storage"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            fix = "the endpoint's certificate is not trusted here: set storage.s3.caCertificate, or use the recovery kit's"
        raise LastcopyError(f"{what}: {escape_text(error)}", where=where, fix=fix) from None
