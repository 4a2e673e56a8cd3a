"""R2: who took a source's storage identity deletes versions, and plays with locks and holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.storage import Desk, Stored
from attack_drill.thief import (
    Calls,
    ask,
    attacked,
    batch,
    begun,
    harmlessly,
    in_days,
    let_go,
    nowhere,
    with_header,
)


def harmless(bucket: str, name: str) -> Calls:
    """On a name where nothing stands."""
    at = {"Bucket": bucket, "Key": name}
    return {
        **begun(bucket, name),
        "delete a version where nothing stands": ask("delete_object", **at, VersionId="null"),
        "the same with bypass": ask("delete_object", **at, VersionId="null", BypassGovernanceRetention=True),
        "hold where nothing stands": ask("put_object_legal_hold", **at, LegalHold={"Status": "ON"}),
    }  # fmt: skip


def on(bucket: str, one: Stored) -> Calls:
    """One version: deleted, its lock shortened, removed and opened, held and let go."""
    at: dict[str, Any] = {"Bucket": bucket, "Key": one.key, "VersionId": one.version}
    what = f"of {one.key}"
    calls: Calls = {
        f"delete the version {what}": ask("delete_object", **at),
        f"delete it with bypass {what}": ask("delete_object", **at, BypassGovernanceRetention=True),
        f"hold {what}": ask("put_object_legal_hold", **at, LegalHold={"Status": "ON"}),
        f"let go {what}": ask("put_object_legal_hold", **at, LegalHold={"Status": "OFF"}),
        f"remove the lock {what}": ask("put_object_retention", **at, Retention={}),
        f"remove the lock with bypass {what}": ask(
            "put_object_retention", **at, Retention={}, BypassGovernanceRetention=True
        ),
    }
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        for bypass in ({}, {"BypassGovernanceRetention": True}):
            shorter = {"Mode": mode, "RetainUntilDate": in_days(0.01)}
            words = f"shorten to {mode.lower()}{' with bypass' if bypass else ''} {what}"
            calls[words] = ask("put_object_retention", **at, Retention=shorter, **bypass)
    return calls


def together(bucket: str, path: str, stored: Sequence[Stored]) -> Calls:
    """Batches, writes with a lock or a hold of the thief's, and a replica's ways in."""
    objects = [{"Key": one.key, "VersionId": one.version} for one in stored]
    some = stored[0]
    new = f"{path}/data/00/thief"
    short = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": in_days(0.01)}
    held = {"ObjectLockLegalHoldStatus": "ON"}
    at = {"Bucket": bucket, "Key": some.key}
    onto_itself: dict[str, Any] = {**at, "CopySource": at, "MetadataDirective": "REPLACE"}
    calls: Calls = {
        "delete all versions at once": lambda s3: batch(s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})),
        "delete all versions at once with bypass": lambda s3: batch(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects}, BypassGovernanceRetention=True)
        ),
        "delete all versions at once quietly with bypass": lambda s3: batch(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}, BypassGovernanceRetention=True)
        ),
        "delete the version 'null'": ask("delete_object", Bucket=bucket, Key=some.key, VersionId="null"),
        "write with a short lock": ask("put_object", Bucket=bucket, Key=new, Body=b"x", **short),
        "write with a hold": ask("put_object", Bucket=bucket, Key=new, Body=b"x", **held),
        "overwrite with a short lock": ask("put_object", Bucket=bucket, Key=some.key, Body=b"x", **short),
        "copy onto itself with a short lock": ask("copy_object", **onto_itself, **short),
        "copy onto itself with a hold": ask("copy_object", **onto_itself, **held),
        "begin an upload with a short lock": ask("create_multipart_upload", Bucket=bucket, Key=new, **short),
        "begin an upload with a hold": ask("create_multipart_upload", Bucket=bucket, Key=new, **held),
    }  # fmt: skip
    return calls


def tricks(bucket: str, everything: Sequence[Stored]) -> Calls:
    """A replica's ways in, and delete markers of restic's locks: what a storage answers differs, what must stand afterwards does not."""
    some = next(one for one in everything if not one.marker)

    def away(s3: Any) -> object:
        at = {"Bucket": bucket, "Key": some.key, "VersionId": some.version}
        # minio's own: how a replica says that a version is to go
        headers = {"x-minio-source-deletemarker-delete": "true", "x-minio-source-replication-request": "true"}
        return with_header(s3, "DeleteObject", headers, lambda: s3.delete_object(**at))

    calls: Calls = {
        "delete a version, posing as a replica": away,
    }
    for one in everything:
        if one.marker:
            at = {"Bucket": bucket, "Key": one.key, "VersionId": one.version}
            calls["take the delete marker off a lock"] = ask("delete_object", **at)
    return calls


def _locked(judge: Desk, stored: Sequence[Stored]) -> bool:
    return all("RetainUntilDate" in words for words in judge.retention(stored).values())


def play(ground: Ground) -> Iterator[Finding]:
    key = ground.thief()
    if not ground.may(Level.THROWAWAY):
        yield from harmlessly(ground, key, lambda bucket: harmless(bucket, nowhere(ground)))
        yield not_played("versions and locks of what stands", Level.THROWAWAY.words)
        return
    judge, made = ground.judge(), ground.throwaway(fresh=True)
    bucket = judge.where.bucket
    lock = f"{made.path}/locks/{'1' * 64}"
    works = judge.tried(
        {
            "write a lock of restic's": ask("put_object", Bucket=bucket, Key=lock, Body=b"drill"),
            "take it away": ask("delete_object", Bucket=bucket, Key=lock),
        },
        key,
    )
    yield control("the stolen identity writes and hides as every backup does", set(works.values()) == {"done"}, works)  # fmt: skip
    everything = judge.versions(made.path, contents=False, locks=True)
    stored = [one for one in everything if not one.marker]
    yield control(
        "the storage locks every version by itself", _locked(judge, stored), f"{len(stored)} versions asked"
    )
    calls = together(bucket, made.path, stored) | harmless(bucket, nowhere(ground))
    for one in stored:
        calls |= on(bucket, one)
    try:
        yield from attacked(judge, key, calls, made.path, tricks=tricks(bucket, everything))
        left = {(one.key, one.version) for one in judge.versions(made.path, contents=False, locks=True)}
        gone = [one.key for one in stored if (one.key, one.version) not in left]
        yield judged("also of restic's own locks no version is gone", not gone, gone or f"{len(stored)} stand")  # fmt: skip
        yield judged("the known tree restores", *made.restored())
    finally:
        let_go(judge, made.path, keep_days=0.01)
