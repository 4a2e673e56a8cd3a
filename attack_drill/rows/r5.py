"""R5: who took a source's storage identity locks objects for decades, to run up the bill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.thief import Calls, ask, attacked, begun, furthest, harmlessly, in_days, let_go, nowhere

# What succeeded on a real bucket would stay for as long: a few days tell the same there.
DECADES = 9999


def calls(bucket: str, path: str, some: str, versions: list[tuple[str, str]], days: float) -> Calls:
    """Every way to give a lock or a hold: with a write, in parts, by a copy, afterwards; as the bucket's default."""
    new = f"{path}/data/00/long"
    found: Calls = {}
    for mode in ("GOVERNANCE", "COMPLIANCE"):
        long = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": in_days(days)}
        retention = {"Mode": mode, "RetainUntilDate": in_days(days)}
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
            f"write, {word}": ask("put_object", Bucket=bucket, Key=new, Body=b"x", **long),
            f"write a lock of restic's, {word}": ask(
                "put_object", Bucket=bucket, Key=f"{path}/locks/{'3' * 64}", Body=b"x", **long
            ),
            f"write in parts, {word}": in_parts,
            f"copy, {word}": ask(
                "copy_object",
                Bucket=bucket,
                Key=f"{new}-copy",
                CopySource={"Bucket": bucket, "Key": some},
                **long,
            ),
            f"extend what it just wrote, {word}": afterwards,
            f"extend the newest, {word}": ask(
                "put_object_retention", Bucket=bucket, Key=some, Retention=retention
            ),
        }
        for key, version in versions:
            at = {"Bucket": bucket, "Key": key, "VersionId": version}
            found[f"extend {key}, {word}"] = ask("put_object_retention", **at, Retention=retention)
            found[f"extend {key} with bypass, {word}"] = ask(
                "put_object_retention", **at, Retention=retention, BypassGovernanceRetention=True
            )
    for key, version in versions:
        at = {"Bucket": bucket, "Key": key, "VersionId": version}
        found[f"hold {key}"] = ask("put_object_legal_hold", **at, LegalHold={"Status": "ON"})
    found["write with a hold, which never ends"] = ask(
        "put_object", Bucket=bucket, Key=f"{new}-held", Body=b"x", ObjectLockLegalHoldStatus="ON"
    )
    return found


def default(bucket: str, days: int) -> Calls:
    """Decades for everything that any source writes from now on."""

    def call(mode: str) -> Any:
        rule = {"DefaultRetention": {"Mode": mode, "Days": days}}
        return ask(
            "put_object_lock_configuration",
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )

    return {f"decades by the bucket's default, {mode.lower()}": call(mode) for mode in ("GOVERNANCE", "COMPLIANCE")}  # fmt: skip


def play(ground: Ground) -> Iterator[Finding]:
    key = ground.thief()
    if not ground.may(Level.THROWAWAY):
        yield from harmlessly(ground, key, lambda bucket: begun(bucket, nowhere(ground), DECADES))
        yield not_played("locks with and on what is written", Level.THROWAWAY.words)
        return
    judge, made = ground.judge(), ground.throwaway(fresh=True)
    bucket, new = judge.where.bucket, f"{made.path}/data/00/plain"
    stored = [one for one in judge.versions(made.path, contents=False) if not one.marker]
    code = judge.tried({"write": ask("put_object", Bucket=bucket, Key=new, Body=b"x")}, key)["write"]
    usual = furthest(judge, f"{made.path}/")
    yield control(
        "the stolen identity writes, and the storage locks it for its owner's time", code == "done" and usual > timedelta(), f"{code}; locked for {usual}",
    )  # fmt: skip
    trial = ground.may(Level.TRIAL)
    # Beyond what the bucket gives by itself, and yet soon over where an attempt would succeed on a real one.
    days = DECADES if trial else usual.days + 2
    tries = calls(bucket, made.path, stored[0].key, [(one.key, one.version) for one in stored], days)
    tries |= begun(bucket, nowhere(ground), DECADES)
    if trial:
        tries |= default(bucket, DECADES)
    else:
        yield not_played("decades as the bucket's own default", Level.TRIAL.words)
    before = judge.settings() if trial else {}
    try:
        yield from attacked(judge, key, tries, made.path)
        now = furthest(judge, f"{made.path}/")
        words = "for ever" if now == timedelta.max else f"for {now}"
        yield judged(
            "nothing is locked for longer than the storage does by itself",
            now <= usual + timedelta(hours=1), f"the longest is locked {words}, usual are {usual}",
        )  # fmt: skip
    finally:
        let_go(judge, made.path, keep_days=usual / timedelta(days=1))
        if before and judge.settings()["object lock"] != before["object lock"]:
            ground.say("the bucket's default lock was changed by the attack: `pulumi up` puts it back")
