"""R8: one source's storage identity used against another source's prefix."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.stolen_identity import (  # fmt: skip
    NOTHING,
    REFUSED,
    Calls,
    StorageState,
    abbreviate,
    api_call,
    call_with_headers,
    find_harm,
    judge_answer,
    open_caller,
    raise_batch_errors,
    read_state,
    require_content,
    why_unreachable,
)
from ops.storage.access import StorageKey

LISTED = ("Contents", "CommonPrefixes", "Versions", "DeleteMarkers", "Uploads")


def looks(bucket: str, mine: str, theirs: str, some: str) -> Calls:
    """Listings and reads, which change nothing.

    Args:
        bucket: The bucket.
        mine: The source's own prefix, with its slash.
        theirs: The other source's prefix, with its slash.
        some: An object of the other source.
    """
    short = theirs.rstrip("/")
    calls: Calls = {
        f"list {prefix!a}": listed(bucket, prefix)
        for prefix in ("", short[:1], short, theirs, f"/{theirs}", some, f"{mine}../{theirs}", f"{mine}/../{theirs}", f"./{theirs}", f"{mine}%2e%2e/{theirs}",
            theirs.upper())
    }  # fmt: skip
    calls |= {
        "list all": lambda s3: require_content(s3.list_objects_v2(Bucket=bucket), *LISTED),
        "list the old way": lambda s3: require_content(
            s3.list_objects(Bucket=bucket, Prefix=theirs), *LISTED
        ),
        "list prefixes": lambda s3: require_content(
            s3.list_objects_v2(Bucket=bucket, Delimiter="/"), *LISTED
        ),
        "list what comes after": lambda s3: others(
            s3.list_objects_v2(Bucket=bucket, Prefix=mine, StartAfter=theirs), mine
        ),
        "list own names with the other's as a marker": lambda s3: others(
            s3.list_objects(Bucket=bucket, Prefix=mine, Marker=theirs), mine
        ),
        "list versions": lambda s3: require_content(
            s3.list_object_versions(Bucket=bucket, Prefix=theirs), *LISTED
        ),
        "list all versions": lambda s3: require_content(s3.list_object_versions(Bucket=bucket), *LISTED),
        "list uploads": lambda s3: require_content(
            s3.list_multipart_uploads(Bucket=bucket, Prefix=theirs), *LISTED
        ),
    }
    at = {"Bucket": bucket, "Key": some}
    everything: dict[str, Any] = {"Expression": "select * from S3Object", "ExpressionType": "SQL"}
    everything |= {"InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}
    calls |= {
        "read": lambda s3: s3.get_object(**at)["Body"].read(),
        "read a byte": lambda s3: s3.get_object(**at, Range="bytes=0-0")["Body"].read(),
        "read its metadata": api_call("head_object", **at),
        "read its attributes": api_call("get_object_attributes", **at, ObjectAttributes=["ObjectSize"]),
        "read its tags": api_call("get_object_tagging", **at),
        "read its acl": api_call("get_object_acl", **at),
        "read its lock": api_call("get_object_retention", **at),
        "read its hold": api_call("get_object_legal_hold", **at),
        "query it": api_call("select_object_content", **at, **everything),
        "read it by a presigned URL": lambda s3: signed(s3, at),
    }  # fmt: skip
    return calls


def listed(bucket: str, prefix: str) -> Callable[[Any], object]:
    return lambda s3: require_content(s3.list_objects_v2(Bucket=bucket, Prefix=prefix), *LISTED)


def roundabout(bucket: str, mine: str, some: str) -> Calls:
    """Keys that begin with the own prefix and lead to the other's on a storage that resolves dots."""
    words = (
        f"{mine}../{some}", f"{mine}/../{some}", f"{mine}./../{some}", f"{mine}%2e%2e/{some}", f"{mine}..%2f{some}", rf"{mine}..\{some}",
        f"/{some}", f"./{some}",
    )  # fmt: skip
    return {f"read {word}": api_call("get_object", Bucket=bucket, Key=word) for word in words}


def others(answer: Any, mine: str) -> object:
    """Raise `NOTHING` unless a listing of the own prefix contains something of another source."""
    return require_content(
        {"Contents": [o for o in answer.get("Contents", []) if not o["Key"].startswith(mine)]}, "Contents"
    )


def signed(s3: Any, at: dict[str, str]) -> object:
    """Read an object by a URL that the identity signs."""
    address = s3.generate_presigned_url("get_object", Params=at, ExpiresIn=60)
    answer = s3._endpoint.http_session.send(AWSRequest(method="GET", url=address).prepare())
    if answer.status_code != 200:
        raise ClientError({"Error": {"Code": str(answer.status_code)}}, "GetObject")
    return answer.content


def writes(bucket: str, own: str, theirs: str, path: str, some: str, version: str, upload: str) -> Calls:
    """Additions, overwrites and deletions in the other's scratch repository ``path``; ``upload`` is one that the other began."""
    at, new = {"Bucket": bucket, "Key": some}, f"{path}/data/00/evil"
    loot, tree = {"Bucket": bucket, "Key": some}, {"Bucket": bucket, "Key": f"{own}/config"}
    parts = {"Bucket": bucket, "Key": f"{path}/data/00/begun", "UploadId": upload}
    calls: Calls = {
        "write": api_call("put_object", Bucket=bucket, Key=new, Body=b"x"),
        "write only if new": api_call("put_object", Bucket=bucket, Key=new, Body=b"x", IfNoneMatch="*"),
        "overwrite": api_call("put_object", **at, Body=b"x"),
        "write in parts": api_call("create_multipart_upload", Bucket=bucket, Key=new),
        "write a lock": api_call("put_object", Bucket=bucket, Key=f"{path}/locks/{'4' * 64}", Body=b"x"),
        "write beside the prefix": api_call("put_object", Bucket=bucket, Key=f"{theirs.rstrip('/')}0/config", Body=b"x"),
        "write at the top": api_call("put_object", Bucket=bucket, Key="drill-evil", Body=b"x"),
        "copy to the own prefix": api_call("copy_object", Bucket=bucket, Key=f"{own}/data/00/loot", CopySource=loot),
        "copy a version to the own prefix": api_call("copy_object", Bucket=bucket, Key=f"{own}/data/00/loot", CopySource={**loot, "VersionId": version}),
        "copy over it": api_call("copy_object", **at, CopySource=tree),
        "copy a part of it into an own upload": lambda s3: part_copied(s3, bucket, f"{own}/data/00/loot", loot),
        "add a part to the other's upload": api_call("upload_part", **parts, PartNumber=1, Body=b"x"),
        "list the parts of the other's upload": api_call("list_parts", **parts),
        "complete the other's upload": api_call("complete_multipart_upload", **parts, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]}),
        "abort the other's upload": api_call("abort_multipart_upload", **parts),
        "unpack a tar there": lambda s3: unpacked(s3, bucket, f"{own}/data/00/tar", f"{path}/data/00/unpacked"),
        "tag": api_call("put_object_tagging", **at, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        "make it public": api_call("put_object_acl", **at, ACL="public-read"),
        "delete": api_call("delete_object", **at),
        "delete a lock": api_call("delete_object", Bucket=bucket, Key=f"{path}/locks/{'5' * 64}"),
        "delete a version": api_call("delete_object", **at, VersionId=version),
        "delete in a batch": lambda s3: raise_batch_errors(s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": some}]})),
    }  # fmt: skip
    return calls


def part_copied(s3: Any, bucket: str, key: str, loot: dict[str, str]) -> object:
    scratch = {"Bucket": bucket, "Key": key}
    scratch["UploadId"] = s3.create_multipart_upload(**scratch)["UploadId"]
    try:
        return s3.upload_part_copy(**scratch, PartNumber=1, CopySource=loot)
    finally:
        s3.abort_multipart_upload(**scratch)


def unpacked(s3: Any, bucket: str, own: str, there: str) -> object:
    """minio unpacks a tar file whose names the writer chose; names outside the own prefix must be refused."""
    scratch = io.BytesIO()
    with tarfile.open(fileobj=scratch, mode="w") as tar:
        entry = tarfile.TarInfo(there)
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    body = scratch.getvalue()
    # With our own digest; without it the client library sends the body in a form that minio does not unpack.
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"x-amz-meta-snowball-auto-extract": "true"}
    call_with_headers(
        s3,
        "PutObject",
        headers,
        lambda: s3.put_object(Bucket=bucket, Key=own, Body=body, ChecksumSHA256=digest),
    )
    return s3.get_object(
        Bucket=bucket, Key=there
    )  # it can only be read if it was stored below the own prefix


def play(drill: Drill) -> Iterator[RowFinding]:
    key = drill.stolen_key()
    other = drill.others[0] if drill.others else None
    theirs = _prefix_of(drill, other) if other else "drill-nobody/"
    some = drill.path(other) + "config" if other else "drill-nobody/g1/config"
    if why := why_unreachable(drill, key):
        yield not_played("calls with the stolen identity", why)
        return
    yield from _look(drill, key, theirs, some)
    if other is None:
        yield not_played("another source's prefix itself", "no other source's host can be reached")
        return
    if not drill.may(Level.SCRATCH):
        yield not_played("writes, copies and deletions there", Level.SCRATCH.words)
        return
    yield from _write(drill, key, other, theirs)


def _prefix_of(drill: Drill, source: str | None = None) -> str:
    """A source's own prefix, with its slash; of the victim where no source is named."""
    return drill.path(source).rstrip("/").rpartition("/")[0] + "/"


def _look(drill: Drill, key: StorageKey, theirs: str, some: str) -> Iterator[RowFinding]:
    """Listings and reads with the stolen identity."""
    mine = _prefix_of(drill)
    with open_caller(drill, key) as storage:
        bucket = storage.where.bucket
        tree = f"{drill.path()}config"
        works = storage.try_calls(
            {
                "list": lambda s3: require_content(s3.list_objects_v2(Bucket=bucket, Prefix=mine), *LISTED),
                "read": lambda s3: s3.get_object(Bucket=bucket, Key=tree)["Body"].read(),
            },
            key,
        )
        yield control("the stolen identity lists and reads its own prefix", set(works.values()) == {"done"}, works)  # fmt: skip
        for name, code in storage.try_calls(looks(bucket, mine, theirs, some), key).items():
            yield judge_answer(name, code)
        for name, code in storage.try_calls(roundabout(bucket, mine, some), key).items():
            yield judged(name, code != "done", f"answer {code}")


def _write(drill: Drill, key: StorageKey, other: str, theirs: str) -> Iterator[RowFinding]:
    """Additions, overwrites and deletions in a scratch repository of the other's, judged by what is in the storage afterwards."""
    storage, own, scratch = (
        drill.require_storage(),
        drill.scratch_repository(),
        drill.scratch_repository(other, fresh=True),
    )
    bucket = storage.where.bucket
    stored = [one for one in storage.versions(scratch.path, contents=False) if not one.marker]
    begun = {"Bucket": bucket, "Key": f"{scratch.path}/data/00/begun"}
    upload = storage.call(lambda s3: s3.create_multipart_upload(**begun)["UploadId"], drill.stolen_key(other))
    try:
        before, own_before = read_state(storage, scratch.path), read_state(storage, own.path)
        calls = writes(bucket, own.path, theirs, scratch.path, stored[-1].key, stored[-1].version, upload)
        for name, code in storage.try_calls(calls, key).items():
            # The storage may unpack it below the own prefix; whether it was stored below the other's is judged below.
            if name == "unpack a tar there":
                yield judged(name, code in REFUSED or code == "NoSuchKey" or code == NOTHING, f"answer {code}")  # fmt: skip
            else:
                yield judge_answer(name, code)
        yield from _compare(
            before, read_state(storage, scratch.path), own_before, read_state(storage, own.path)
        )
        yield judged("the other's upload was not ended", _upload_exists(storage, begun, upload), "asked of the storage")  # fmt: skip
        yield judged("the other's known tree restores", *scratch.try_restore())
    finally:
        storage.call(lambda s3: _give_up(s3, begun, upload))


def _compare(
    before: StorageState, after: StorageState, own_before: StorageState, own_after: StorageState
) -> Iterator[RowFinding]:
    """The other's scratch repository and the attacker's own, before and after."""
    damage = find_harm(before, after)
    had = {(one.key, one.version) for one in before.stored}
    added = [f"new: {one.key}" for one in after.stored if (one.key, one.version) not in had]
    yield judged(
        "the other's scratch repository afterwards: nothing lost, changed or added", not damage + added,
        abbreviate(damage + added) or f"{len(before.stored)} versions as before",
    )  # fmt: skip
    secret = {one.digest for one in before.stored if not one.marker}
    owned = {(one.key, one.version) for one in own_before.stored}
    loot = [one.key for one in own_after.stored if (one.key, one.version) not in owned and one.digest in secret]  # fmt: skip
    yield judged("no content of the other's is below the own prefix", not loot, loot or "no content of the other's")  # fmt: skip


def _upload_exists(storage: Any, begun: dict[str, str], upload: str) -> bool:
    code: str = storage.try_calls({"": api_call("list_parts", **begun, UploadId=upload)}, storage.admin)[""]
    return code == "done"


def _give_up(s3: Any, begun: dict[str, str], upload: str) -> None:
    with suppress(ClientError):
        s3.abort_multipart_upload(**begun, UploadId=upload)
