"""R2: whoever stole a source's storage identity deletes versions, and changes locks and legal holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.stolen_identity import (
    Calls,
    api_call,
    call_with_headers,
    check_backup_calls,
    days_from_now,
    locked_upload_calls,
    play_calls,
    play_harmless_calls,
    raise_batch_errors,
    release_locks,
    unused_key,
)
from attack_drill.storage_admin import StorageAdmin, StoredVersion


def harmless(bucket: str, name: str) -> Calls:
    """Calls on a key that does not exist."""
    at = {"Bucket": bucket, "Key": name}
    return {
        **locked_upload_calls(bucket, name),
        "delete a version of a key that does not exist": api_call("delete_object", **at, VersionId="null"),
        "the same with bypass": api_call("delete_object", **at, VersionId="null", BypassGovernanceRetention=True),
        "hold a key that does not exist": api_call("put_object_legal_hold", **at, LegalHold={"Status": "ON"}),
    }  # fmt: skip


def on(bucket: str, one: StoredVersion) -> Calls:
    """Calls on one version: delete it, shorten, loosen and remove its lock, set and release a legal hold."""
    at: dict[str, Any] = {"Bucket": bucket, "Key": one.key, "VersionId": one.version}
    what = f"of {one.key}"
    calls: Calls = {
        f"delete the version {what}": api_call("delete_object", **at),
        f"delete it with bypass {what}": api_call("delete_object", **at, BypassGovernanceRetention=True),
        f"hold {what}": api_call("put_object_legal_hold", **at, LegalHold={"Status": "ON"}),
        f"release the hold {what}": api_call("put_object_legal_hold", **at, LegalHold={"Status": "OFF"}),
        f"remove the lock {what}": api_call("put_object_retention", **at, Retention={}),
        f"remove the lock with bypass {what}": api_call(
            "put_object_retention", **at, Retention={}, BypassGovernanceRetention=True
        ),
    }
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        for bypass in ({}, {"BypassGovernanceRetention": True}):
            shorter = {"Mode": mode, "RetainUntilDate": days_from_now(0.01)}
            words = f"shorten to {mode.lower()}{' with bypass' if bypass else ''} {what}"
            calls[words] = api_call("put_object_retention", **at, Retention=shorter, **bypass)
    return calls


def together(bucket: str, path: str, stored: Sequence[StoredVersion]) -> Calls:
    """Batches, and writes with a lock or a legal hold of the attacker's choice."""
    objects = [{"Key": one.key, "VersionId": one.version} for one in stored]
    some = stored[0]
    new = f"{path}/data/00/attacker"
    short = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": days_from_now(0.01)}
    held = {"ObjectLockLegalHoldStatus": "ON"}
    at = {"Bucket": bucket, "Key": some.key}
    onto_itself: dict[str, Any] = {**at, "CopySource": at, "MetadataDirective": "REPLACE"}
    calls: Calls = {
        "delete all versions at once": lambda s3: raise_batch_errors(s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})),
        "delete all versions at once with bypass": lambda s3: raise_batch_errors(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects}, BypassGovernanceRetention=True)
        ),
        "delete all versions at once quietly with bypass": lambda s3: raise_batch_errors(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}, BypassGovernanceRetention=True)
        ),
        "delete the version 'null'": api_call("delete_object", Bucket=bucket, Key=some.key, VersionId="null"),
        "write with a short lock": api_call("put_object", Bucket=bucket, Key=new, Body=b"x", **short),
        "write with a hold": api_call("put_object", Bucket=bucket, Key=new, Body=b"x", **held),
        "overwrite with a short lock": api_call("put_object", Bucket=bucket, Key=some.key, Body=b"x", **short),
        "copy onto itself with a short lock": api_call("copy_object", **onto_itself, **short),
        "copy onto itself with a hold": api_call("copy_object", **onto_itself, **held),
        "begin an upload with a short lock": api_call("create_multipart_upload", Bucket=bucket, Key=new, **short),
        "begin an upload with a hold": api_call("create_multipart_upload", Bucket=bucket, Key=new, **held),
    }  # fmt: skip
    return calls


def tricks(bucket: str, everything: Sequence[StoredVersion]) -> Calls:
    """A deletion that poses as a replica's, and removals of delete markers from restic's locks. Storages answer these differently."""
    some = next(one for one in everything if not one.marker)

    def away(s3: Any) -> object:
        at = {"Bucket": bucket, "Key": some.key, "VersionId": some.version}
        # minio's own headers: how a replica asks for a version to be deleted
        headers = {"x-minio-source-deletemarker-delete": "true", "x-minio-source-replication-request": "true"}
        return call_with_headers(s3, "DeleteObject", headers, lambda: s3.delete_object(**at))

    calls: Calls = {
        "delete a version, posing as a replica": away,
    }
    for one in everything:
        if one.marker:
            at = {"Bucket": bucket, "Key": one.key, "VersionId": one.version}
            calls["remove the delete marker of a lock"] = api_call("delete_object", **at)
    return calls


def _locked(storage: StorageAdmin, stored: Sequence[StoredVersion]) -> bool:
    return all("RetainUntilDate" in words for words in storage.retention(stored).values())


def play(drill: Drill) -> Iterator[RowFinding]:
    key = drill.stolen_key()
    if not drill.may(Level.SCRATCH):
        yield from play_harmless_calls(drill, key, lambda bucket: harmless(bucket, unused_key(drill)))
        yield not_played("versions and locks of existing objects", Level.SCRATCH.words)
        return
    storage, scratch = drill.require_storage(), drill.scratch_repository(fresh=True)
    bucket = storage.where.bucket
    some = storage.versions(scratch.path, contents=False)[0]
    yield check_backup_calls(storage, key, scratch.path, some.key)
    everything = storage.versions(scratch.path, contents=False, locks=True)
    stored = [one for one in everything if not one.marker]
    yield control(
        "the storage locks every version by itself", _locked(storage, stored), f"{len(stored)} versions asked"
    )
    calls = together(bucket, scratch.path, stored) | harmless(bucket, unused_key(drill))
    for one in stored:
        calls |= on(bucket, one)
    try:
        yield from play_calls(storage, key, calls, scratch.path, tricks=tricks(bucket, everything))
        left = {(one.key, one.version) for one in storage.versions(scratch.path, contents=False, locks=True)}
        gone = [one.key for one in stored if (one.key, one.version) not in left]
        yield judged("no version is gone, also of restic's locks", not gone, gone or f"{len(stored)} versions")  # fmt: skip
        yield judged("the known tree restores", *scratch.try_restore())
    finally:
        release_locks(storage, scratch.path, keep_days=0.01)
