"""R5: whoever stole a source's storage identity locks objects for decades, to run up the bill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.stolen_identity import (
    Calls,
    api_call,
    days_from_now,
    locked_upload_calls,
    longest_lock,
    play_calls,
    play_harmless_calls,
    release_locks,
    unused_key,
)

# Days. On a real bucket a lock that succeeds would last that long, so a few days are tried there instead.
DECADES = 9999


def calls(bucket: str, path: str, some: str, versions: list[tuple[str, str]], days: float) -> Calls:
    """Every way to set a lock or a legal hold: with a write, in parts, by a copy, afterwards."""
    new = f"{path}/data/00/long"
    found: Calls = {}
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        long = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": days_from_now(days)}
        retention = {"Mode": mode, "RetainUntilDate": days_from_now(days)}
        word = mode.lower()

        def in_parts(s3: Any, long: dict[str, Any] = long) -> object:
            at = {"Bucket": bucket, "Key": f"{new}-parts"}
            at["UploadId"] = s3.create_multipart_upload(**at, **long)["UploadId"]
            part = {"PartNumber": 1, "ETag": s3.upload_part(**at, PartNumber=1, Body=b"x")["ETag"]}
            return s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [part]})

        def afterwards(s3: Any, retention: dict[str, Any] = retention) -> object:
            version = s3.put_object(Bucket=bucket, Key=f"{path}/locks/{'2' * 64}", Body=b"x")["VersionId"]
            at = {"Bucket": bucket, "Key": f"{path}/locks/{'2' * 64}", "VersionId": version}
            return s3.put_object_retention(**at, Retention=retention)

        found |= {
            f"write, {word}": api_call("put_object", Bucket=bucket, Key=new, Body=b"x", **long),
            f"write a restic lock, {word}": api_call(
                "put_object", Bucket=bucket, Key=f"{path}/locks/{'3' * 64}", Body=b"x", **long
            ),
            f"write in parts, {word}": in_parts,
            f"copy, {word}": api_call(
                "copy_object",
                Bucket=bucket,
                Key=f"{new}-copy",
                CopySource={"Bucket": bucket, "Key": some},
                **long,
            ),
            f"extend what it just wrote, {word}": afterwards,
            f"extend the newest, {word}": api_call(
                "put_object_retention", Bucket=bucket, Key=some, Retention=retention
            ),
        }
        for key, version in versions:
            at = {"Bucket": bucket, "Key": key, "VersionId": version}
            found[f"extend {key}, {word}"] = api_call("put_object_retention", **at, Retention=retention)
            found[f"extend {key} with bypass, {word}"] = api_call(
                "put_object_retention", **at, Retention=retention, BypassGovernanceRetention=True
            )
    for key, version in versions:
        at = {"Bucket": bucket, "Key": key, "VersionId": version}
        found[f"hold {key}"] = api_call("put_object_legal_hold", **at, LegalHold={"Status": "ON"})
    found["write with a legal hold"] = api_call(
        "put_object", Bucket=bucket, Key=f"{new}-held", Body=b"x", ObjectLockLegalHoldStatus="ON"
    )
    return found


def default(bucket: str, days: int) -> Calls:
    """Locks for decades on everything that any source writes from now on, by the bucket's default."""

    def call(mode: str) -> Any:
        rule = {"DefaultRetention": {"Mode": mode, "Days": days}}
        return api_call(
            "put_object_lock_configuration",
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )

    return {f"decades by the bucket's default, {mode.lower()}": call(mode) for mode in ("GOVERNANCE", "COMPLIANCE")}  # fmt: skip


def play(drill: Drill) -> Iterator[RowFinding]:
    key = drill.stolen_key()
    if not drill.may(Level.SCRATCH):
        yield from play_harmless_calls(
            drill, key, lambda bucket: locked_upload_calls(bucket, unused_key(drill), DECADES)
        )
        yield not_played("locks with a write, and on existing objects", Level.SCRATCH.words)
        return
    storage, scratch = drill.require_storage(), drill.scratch_repository(fresh=True)
    bucket, new = storage.where.bucket, f"{scratch.path}/data/00/plain"
    stored = [one for one in storage.versions(scratch.path, contents=False) if not one.marker]
    code = storage.try_calls({"write": api_call("put_object", Bucket=bucket, Key=new, Body=b"x")}, key)[
        "write"
    ]
    usual = longest_lock(storage, f"{scratch.path}/")
    yield control(
        "the stolen identity writes, and the storage locks the object by itself", code == "done" and usual > timedelta(), f"{code}; locked for {usual}",
    )  # fmt: skip
    trial = drill.may(Level.TRIAL)
    # Longer than the bucket's own lock, yet short enough if an attempt succeeds on a real bucket.
    days = DECADES if trial else usual.days + 2
    tries = calls(bucket, scratch.path, stored[0].key, [(one.key, one.version) for one in stored], days)
    tries |= locked_upload_calls(bucket, unused_key(drill), DECADES)
    if trial:
        tries |= default(bucket, DECADES)
    else:
        yield not_played("decades as the bucket's own default", Level.TRIAL.words)
    before = storage.settings() if trial else {}
    try:
        yield from play_calls(storage, key, tries, scratch.path)
        now = longest_lock(storage, f"{scratch.path}/")
        words = "forever" if now == timedelta.max else f"for {now}"
        yield judged(
            "nothing is locked for longer than the storage does by itself",
            now <= usual + timedelta(hours=1), f"the longest lock lasts {words}, the storage's own {usual}",
        )  # fmt: skip
    finally:
        release_locks(storage, scratch.path, keep_days=usual / timedelta(days=1))
        if before and storage.settings()["object lock"] != before["object lock"]:
            drill.say("the attack changed the bucket's default lock: `pulumi up` restores it")
