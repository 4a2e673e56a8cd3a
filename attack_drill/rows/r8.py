"""R8: one source's storage identity used against another source's room."""

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

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.thief import (  # fmt: skip
    NOTHING,
    REFUSED,
    Calls,
    answered,
    ask,
    at_most,
    batch,
    brought,
    caller,
    harm,
    state,
    unreached,
    with_header,
)

LISTED = ("Contents", "CommonPrefixes", "Versions", "DeleteMarkers", "Uploads")


def looks(bucket: str, mine: str, room: str, some: str) -> Calls:
    """Listings and reads; nothing changes by them. ``mine`` and ``room``: rooms with their slash; ``some``: an object of the other's."""
    short = room.rstrip("/")
    calls: Calls = {
        f"list {prefix!a}": listed(bucket, prefix)
        for prefix in ("", short[:1], short, room, f"/{room}", some, f"{mine}../{room}", f"{mine}/../{room}", f"./{room}", f"{mine}%2e%2e/{room}", room.upper())
    }  # fmt: skip
    calls |= {
        "list all": lambda s3: brought(s3.list_objects_v2(Bucket=bucket), *LISTED),
        "list the old way": lambda s3: brought(s3.list_objects(Bucket=bucket, Prefix=room), *LISTED),
        "list rooms": lambda s3: brought(s3.list_objects_v2(Bucket=bucket, Delimiter="/"), *LISTED),
        "list what comes after": lambda s3: others(
            s3.list_objects_v2(Bucket=bucket, Prefix=mine, StartAfter=room), mine
        ),
        "list own names with the other's as a mark": lambda s3: others(
            s3.list_objects(Bucket=bucket, Prefix=mine, Marker=room), mine
        ),
        "list versions": lambda s3: brought(s3.list_object_versions(Bucket=bucket, Prefix=room), *LISTED),
        "list all versions": lambda s3: brought(s3.list_object_versions(Bucket=bucket), *LISTED),
        "list uploads": lambda s3: brought(s3.list_multipart_uploads(Bucket=bucket, Prefix=room), *LISTED),
    }
    at = {"Bucket": bucket, "Key": some}
    everything: dict[str, Any] = {"Expression": "select * from S3Object", "ExpressionType": "SQL"}
    everything |= {"InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}
    calls |= {
        "read": lambda s3: s3.get_object(**at)["Body"].read(),
        "read a byte": lambda s3: s3.get_object(**at, Range="bytes=0-0")["Body"].read(),
        "look": ask("head_object", **at),
        "read its attributes": ask("get_object_attributes", **at, ObjectAttributes=["ObjectSize"]),
        "read its tags": ask("get_object_tagging", **at),
        "read its acl": ask("get_object_acl", **at),
        "read its lock": ask("get_object_retention", **at),
        "read its hold": ask("get_object_legal_hold", **at),
        "search in it": ask("select_object_content", **at, **everything),
        "read it by a signed address": lambda s3: signed(s3, at),
    }  # fmt: skip
    return calls


def listed(bucket: str, prefix: str) -> Callable[[Any], object]:
    return lambda s3: brought(s3.list_objects_v2(Bucket=bucket, Prefix=prefix), *LISTED)


def roundabout(bucket: str, mine: str, some: str) -> Calls:
    """Names that begin in the own room and would end in the other's on a storage that reads dots as folders."""
    words = (
        f"{mine}../{some}", f"{mine}/../{some}", f"{mine}./../{some}", f"{mine}%2e%2e/{some}", f"{mine}..%2f{some}", rf"{mine}..\{some}",
        f"/{some}", f"./{some}",
    )  # fmt: skip
    return {f"read {word}": ask("get_object", Bucket=bucket, Key=word) for word in words}


def others(answer: Any, mine: str) -> object:
    """Of a listing of the own room: nothing of another's."""
    return brought(
        {"Contents": [o for o in answer.get("Contents", []) if not o["Key"].startswith(mine)]}, "Contents"
    )


def signed(s3: Any, at: dict[str, str]) -> object:
    """The identity signs an address, as for somebody without one."""
    address = s3.generate_presigned_url("get_object", Params=at, ExpiresIn=60)
    answer = s3._endpoint.http_session.send(AWSRequest(method="GET", url=address).prepare())
    if answer.status_code != 200:
        raise ClientError({"Error": {"Code": str(answer.status_code)}}, "GetObject")
    return answer.content


def writes(bucket: str, own: str, room: str, path: str, some: str, version: str, upload: str) -> Calls:
    """Additions, overwrites and deletions in the other's throwaway ``path``; ``upload``: one that the other began."""
    at, new = {"Bucket": bucket, "Key": some}, f"{path}/data/00/evil"
    loot, tree = {"Bucket": bucket, "Key": some}, {"Bucket": bucket, "Key": f"{own}/config"}
    parts = {"Bucket": bucket, "Key": f"{path}/data/00/begun", "UploadId": upload}
    calls: Calls = {
        "write": ask("put_object", Bucket=bucket, Key=new, Body=b"x"),
        "write only if new": ask("put_object", Bucket=bucket, Key=new, Body=b"x", IfNoneMatch="*"),
        "overwrite": ask("put_object", **at, Body=b"x"),
        "write in parts": ask("create_multipart_upload", Bucket=bucket, Key=new),
        "write a lock": ask("put_object", Bucket=bucket, Key=f"{path}/locks/{'4' * 64}", Body=b"x"),
        "write beside the room": ask("put_object", Bucket=bucket, Key=f"{room.rstrip('/')}0/config", Body=b"x"),
        "write at the top": ask("put_object", Bucket=bucket, Key="drill-evil", Body=b"x"),
        "copy to the own room": ask("copy_object", Bucket=bucket, Key=f"{own}/data/00/loot", CopySource=loot),
        "copy a version to the own room": ask("copy_object", Bucket=bucket, Key=f"{own}/data/00/loot", CopySource={**loot, "VersionId": version}),
        "copy over it": ask("copy_object", **at, CopySource=tree),
        "copy a part of it into an own upload": lambda s3: part_copied(s3, bucket, f"{own}/data/00/loot", loot),
        "add a part to the other's upload": ask("upload_part", **parts, PartNumber=1, Body=b"x"),
        "list the parts of the other's upload": ask("list_parts", **parts),
        "complete the other's upload": ask("complete_multipart_upload", **parts, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]}),
        "abort the other's upload": ask("abort_multipart_upload", **parts),
        "unpack a tar there": lambda s3: unpacked(s3, bucket, f"{own}/data/00/tar", f"{path}/data/00/unpacked"),
        "tag": ask("put_object_tagging", **at, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        "give it away": ask("put_object_acl", **at, ACL="public-read"),
        "delete": ask("delete_object", **at),
        "delete a lock": ask("delete_object", Bucket=bucket, Key=f"{path}/locks/{'5' * 64}"),
        "delete a version": ask("delete_object", **at, VersionId=version),
        "delete in a batch": lambda s3: batch(s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": some}]})),
    }  # fmt: skip
    return calls


def part_copied(s3: Any, bucket: str, key: str, loot: dict[str, str]) -> object:
    made = {"Bucket": bucket, "Key": key}
    made["UploadId"] = s3.create_multipart_upload(**made)["UploadId"]
    try:
        return s3.upload_part_copy(**made, PartNumber=1, CopySource=loot)
    finally:
        s3.abort_multipart_upload(**made)


def unpacked(s3: Any, bucket: str, own: str, there: str) -> object:
    """minio unpacks a tar whose names the writer chose; what is not the own room's must be refused."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo(there)
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    body = made.getvalue()
    # A digest of our own: else the client library sends the body in a form that minio does not unpack.
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"x-amz-meta-snowball-auto-extract": "true"}
    with_header(
        s3,
        "PutObject",
        headers,
        lambda: s3.put_object(Bucket=bucket, Key=own, Body=body, ChecksumSHA256=digest),
    )
    return s3.get_object(Bucket=bucket, Key=there)  # ours to read only if it came to stand in the own room


def play(ground: Ground) -> Iterator[Finding]:
    key = ground.thief()
    mine = ground.path().rstrip("/").rpartition("/")[0] + "/"
    other = ground.others[0] if ground.others else None
    room = ground.path(other).rstrip("/").rpartition("/")[0] + "/" if other else "drill-nobody/"
    some = ground.path(other) + "config" if other else "drill-nobody/g1/config"
    if why := unreached(ground, key):
        yield not_played("calls with the stolen identity", why)
        return
    with caller(ground, key) as desk:
        bucket = desk.where.bucket
        tree = f"{ground.path()}config"
        works = desk.tried(
            {
                "list": lambda s3: brought(s3.list_objects_v2(Bucket=bucket, Prefix=mine), *LISTED),
                "read": lambda s3: s3.get_object(Bucket=bucket, Key=tree)["Body"].read(),
            },
            key,
        )
        yield control("the stolen identity lists and reads its own room", set(works.values()) == {"done"}, works)  # fmt: skip
        for name, code in desk.tried(looks(bucket, mine, room, some), key).items():
            yield answered(name, code)
        for name, code in desk.tried(roundabout(bucket, mine, some), key).items():
            yield judged(name, code != "done", f"answer {code}")
    if other is None:
        yield not_played("another source's room itself", "no other source's host can be reached")
        return
    if not ground.may(Level.THROWAWAY):
        yield not_played("writes, copies and deletions there", Level.THROWAWAY.words)
        return
    judge, own, made = ground.judge(), ground.throwaway(), ground.throwaway(other, fresh=True)
    stored = [one for one in judge.versions(made.path, contents=False) if not one.marker]
    begun = {"Bucket": bucket, "Key": f"{made.path}/data/00/begun"}
    upload = judge.do(lambda s3: s3.create_multipart_upload(**begun)["UploadId"], ground.thief(other))
    try:
        before, own_before = state(judge, made.path), state(judge, own.path)
        calls = writes(bucket, own.path, room, made.path, stored[-1].key, stored[-1].version, upload)
        answers = judge.tried(calls, key)
        for name, code in answers.items():
            # A name in a tar is the own room's where the storage puts it there; whether it came to stand in the other's is seen below.
            if name == "unpack a tar there":
                yield judged(name, code in REFUSED or code == "NoSuchKey" or code == NOTHING, f"answer {code}")  # fmt: skip
            else:
                yield answered(name, code)
        after = state(judge, made.path)
        damage = harm(before, after)
        had = {(one.key, one.version) for one in before.stored}
        added = [f"new: {one.key}" for one in after.stored if (one.key, one.version) not in had]
        yield judged(
            "the other's throwaway afterwards: nothing lost, changed or added", not damage + added,
            at_most(damage + added) or f"{len(before.stored)} versions as before",
        )  # fmt: skip
        secret = {one.digest for one in before.stored if not one.marker}
        owned = {(one.key, one.version) for one in own_before.stored}
        loot = [one.key for one in state(judge, own.path).stored if (one.key, one.version) not in owned and one.digest in secret]  # fmt: skip
        yield judged("nothing of the other's stands in the own room", not loot, loot or "no content of the other's")  # fmt: skip
        yield judged("the other's upload was not ended", _stands(judge, begun, upload), "asked of the storage")  # fmt: skip
        yield judged("the other's known tree restores", *made.restored())
    finally:
        judge.do(lambda s3: _give_up(s3, begun, upload))


def _stands(judge: Any, begun: dict[str, str], upload: str) -> bool:
    code: str = judge.tried({"": ask("list_parts", **begun, UploadId=upload)}, judge.admin)[""]
    return code == "done"


def _give_up(s3: Any, begun: dict[str, str], upload: str) -> None:
    with suppress(ClientError):
        s3.abort_multipart_upload(**begun, UploadId=upload)
