"""R3: whoever stole a source's storage identity overwrites objects, adds garbage and hides objects."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, failed, judged, not_played
from attack_drill.last_good_moment import recover_last_good
from attack_drill.options import Level
from attack_drill.stolen_identity import (
    MISSING,
    NO_SUCH_CALL,
    NO_SUCH_NAME,
    NOTHING,
    REFUSED,
    Calls,
    abbreviate,
    api_call,
    call_with_headers,
)
from attack_drill.storage_admin import StorageAdmin, StoredVersion, find_losses
from ops.history.dates import EARLY

TOLD = MISSING | NO_SUCH_CALL | NO_SUCH_NAME | REFUSED | {"done", NOTHING, "PreconditionFailed", "XMinioInvalidObjectName", "InvalidArgument"}  # fmt: skip


def overwrites(bucket: str, stored: Sequence[StoredVersion]) -> Calls:
    """Overwrites of each object: other content, no content, in parts, another object's content, its own content with other metadata."""
    calls: Calls = {}

    def in_parts(key: str) -> Any:
        def call(s3: Any) -> object:
            at = {"Bucket": bucket, "Key": key}
            at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
            part = {
                "PartNumber": 1,
                "ETag": s3.upload_part(**at, PartNumber=1, Body=b"garbage in parts")["ETag"],
            }
            return s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [part]})

        return call

    first = stored[0].key
    for one in stored:
        at = {"Bucket": bucket, "Key": one.key}
        calls |= {
            f"overwrite {one.key} with itself and false metadata": api_call(
                "copy_object", **at, CopySource=at, MetadataDirective="REPLACE", Metadata={"mtime": "0"}
            ),
            f"overwrite {one.key} with another object": api_call(
                "copy_object", **at, CopySource={"Bucket": bucket, "Key": first}, MetadataDirective="REPLACE"
            ),
            f"empty {one.key}": api_call("put_object", **at, Body=b""),
            f"overwrite {one.key} in parts": in_parts(one.key),
            f"overwrite {one.key}": api_call("put_object", **at, Body=b"garbage"),
        }
    return calls


def _named(path: str, kind: str, body: bytes) -> tuple[str, bytes]:
    """A key whose name matches its content, as restic requires, and the content."""
    name = hashlib.sha256(body).hexdigest()
    return (f"{path}/data/{name[:2]}/{name}" if kind == "data" else f"{path}/{kind}/{name}"), body


def garbage(bucket: str, path: str) -> Calls:
    """Well-named files of every kind, more key files than restic tries, and keys that restic never writes."""
    files = [
        _named(path, kind, f"garbage {kind} {n}".encode() * 30)
        for kind in ("snapshots", "index", "data")
        for n in range(5)
    ]
    files += [
        _named(path, "keys", json.dumps({"hostname": "attacker", "data": "AAAA", "n": n}).encode())
        for n in range(25)
    ]
    files += [(f"{path}/keys/{'0' * 64}", b"{ not JSON"), (f"{path}/snapshots/{'0' * 64}", b""), (f"{path}/index/{'f' * 64}", b"x" * 100000)]  # fmt: skip
    files += [(f"{path}/keys/\x1b[2J", b"x"), (f"{path}/data/zz/new\nline", b"x"), (f"{path}/evil", b"x"), (f"{path}/config/evil", b"x")]  # fmt: skip
    calls: Calls = {
        f"add garbage: {key.removeprefix(path)}": api_call("put_object", Bucket=bucket, Key=key, Body=body)
        for key, body in files
    }
    for number in range(3):
        calls[f"begin an upload and leave it, {number + 1}"] = api_call(
            "create_multipart_upload", Bucket=bucket, Key=f"{path}/data/00/left{number}"
        )
    return calls


def hiding(bucket: str, stored: Sequence[StoredVersion]) -> Calls:
    return {f"hide {one.key}": api_call("delete_object", Bucket=bucket, Key=one.key) for one in stored}


def forged_dates(bucket: str, path: str, some: StoredVersion, dates: Mapping[str, datetime]) -> Calls:
    """Writes with a date of the attacker's choice: a backdated version would be in the view of an earlier moment.

    ``dates`` are those of the existing objects.
    """
    calls: Calls = {}
    for key, at in dates.items():
        headers = {"x-minio-source-mtime": (at + timedelta(milliseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        calls[f"overwrite {key}, dated right after it"] = dated(bucket, key, headers)
    index, body = _named(path, "index", b"garbage index of long ago" * 20)
    calls["add a garbage index of long ago"] = dated(
        bucket, index, {"x-minio-source-mtime": "2001-02-03T04:05:06Z"}, body
    )
    ways: dict[str, tuple[str, dict[str, str]]] = {
        "earlier": ("2001-02-03T04:05:06Z", {}),
        "later": ("2099-02-03T04:05:06Z", {}),
        "earlier, as a replica": ("2001-02-03T04:05:06Z", {"x-minio-source-replication-request": "true"}),
        "earlier, as a replica of a version": (
            "2001-02-03T04:05:06Z",
            {"x-minio-source-replication-request": "true", "x-minio-source-version-id": some.version},
        ),
    }
    for word, (date, more) in ways.items():
        headers = {"x-minio-source-mtime": date, "last-modified": date, **more}
        key = f"{path}/data/00/dated-{word.replace(' ', '-').replace(',', '')}"
        calls[f"write with an {word} date" if word[0] == "e" else f"write with a {word} date"] = dated(
            bucket, key, headers
        )
    return calls


def dated(bucket: str, key: str, headers: dict[str, str], body: bytes = b"x") -> Callable[[Any], object]:
    return lambda s3: call_with_headers(
        s3, "PutObject", headers, lambda: s3.put_object(Bucket=bucket, Key=key, Body=body)
    )


def _abort(s3: Any, bucket: str, path: str) -> None:
    for one in s3.list_multipart_uploads(Bucket=bucket, Prefix=f"{path}/data/00/left").get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])


def _dates(storage: StorageAdmin, prefix: str) -> dict[str, datetime]:
    def asked(s3: Any) -> dict[str, datetime]:
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=storage.where.bucket, Prefix=prefix)
        return {row["Key"]: row["LastModified"] for page in pages for row in page.get("Versions", [])}

    return storage.call(asked)


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played("overwriting, garbage, hiding, and recovery from them", Level.SCRATCH.words)
        return
    key, storage, scratch = drill.stolen_key(), drill.require_storage(), drill.scratch_repository(fresh=True)
    bucket = storage.where.bucket
    yield control("the known tree restores before the attack", *scratch.try_restore())
    before = storage.versions(scratch.path)
    stored = [one for one in before if not one.marker]
    forged = forged_dates(bucket, scratch.path, stored[0], _dates(storage, f"{scratch.path}/"))
    # An attack within EARLY of a write can look like part of that write; it costs the last backup, never an earlier one (docs/threat-model.md).
    time.sleep(EARLY.total_seconds() + 1)
    try:
        attack = {**forged, **overwrites(bucket, stored), **garbage(bucket, scratch.path)}
        answers = storage.try_calls(attack | hiding(bucket, stored), key)
        for name, code in answers.items():
            if code not in TOLD:
                yield failed(name, code)
        through = sum(answers[name] == "done" for name in attack)
        # The storage's administrator hides what the policy did not let the attacker hide, to reach the worst case.
        hidden = storage.hide(f"{scratch.path}/")
        destroyed, seen = scratch.try_restore()
        yield control(
            "the attack reaches the live repository: it no longer restores", not destroyed,
            f"{through} of {len(attack)} writes were accepted, {hidden} objects are hidden; {seen}",
        )  # fmt: skip
        damage = [line for line in find_losses(before, storage.versions(scratch.path)) if line.startswith(("gone", "changed"))]  # fmt: skip
        yield judged("every earlier version is kept, with its content", not damage, abbreviate(damage) or f"{len(stored)} versions as before")  # fmt: skip
        back = recover_last_good(drill, scratch)
        yield judged(
            "recovery finds the last good moment", back.moment is not None, f"{back.moment}: {back.seen}"
        )
        yield judged(
            "every snapshot restores from the view of that moment, byte for byte", back.same == len(scratch.snapshots),
            f"{back.same} of {len(scratch.snapshots)} are the same, after {back.seconds:.1f} s; "
            f"{sum(answers[name] == 'done' for name in forged)} of {len(forged)} writes with a date of the attacker's choice were accepted",
        )  # fmt: skip
    finally:
        storage.call(lambda s3: _abort(s3, bucket, scratch.path))
