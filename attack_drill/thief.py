"""Thief: who holds a source's storage identity calls the storage's API directly, past rclone; the storage's own administrator judges.

The identity is the one that root on the relay reads (`ground.thief()`). The calls leave from where the drill runs: it is the identity that
is tried, not the relay's network.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from attack_drill.ground import Ground
from attack_drill.model import Finding, control, failed, judged, not_played
from attack_drill.storage import Desk, Stored, desk, lost
from ops.storage.access import StorageKey

Calls = dict[str, Callable[[Any], object]]
# By policy, or by the lock: minio asks the lock first where no bypass is asked for, and answers InvalidRequest.
REFUSED = frozenset({"AccessDenied", "403", "InvalidRequest", "ObjectLocked", "MethodNotAllowed", "AllAccessDisabled", "InvalidBucketState"})  # fmt: skip
# The storage has no such thing; that nothing changed is then what is observed.
NO_SUCH_CALL = frozenset({"NotImplemented", "MalformedXML", "UnsupportedOperation", "501"})
# A name that the storage does not take: dots that mean folders.
NO_SUCH_NAME = frozenset({"XMinioInvalidResourceName", "XMinioInvalidObjectName"})
# A name that does not stand: whoever reads this was let in.
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "ObjectNotFound", "NoSuchUpload"})
NOTHING = "Nothing"  # our own code: an answer that brought nothing


@dataclass(frozen=True, kw_only=True)
class State:
    """What stood at one moment: versions with their content, their locks, the bucket's settings."""

    stored: list[Stored]
    locks: Mapping[tuple[str, str], str]
    settings: Mapping[str, str]


def state(judge: Desk, prefix: str) -> State:
    stored = judge.versions(prefix)
    return State(
        stored=stored,
        locks=judge.retention(one for one in stored if not one.marker),
        settings=judge.settings(),
    )


def harm(before: State, after: State) -> list[str]:
    """Versions lost, changed or hidden; locks and settings that are no longer what they were."""
    locks = [
        f"lock changed: {key}"
        for (key, version), was in before.locks.items()
        if after.locks.get((key, version), was) != was
    ]
    settings = [f"setting changed: {name}" for name, was in before.settings.items() if after.settings[name] != was]  # fmt: skip
    return [*lost(before.stored, after.stored), *sorted(locks), *sorted(settings)]


def at_most(found: list[str], most: int = 4) -> str:
    """A list that a person can read."""
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + rest


def answered(name: str, code: str) -> Finding:
    """One call: refused, done, or something that tells neither."""
    if code == "done":
        return judged(name, False, "done")
    if code in MISSING:
        return judged(name, False, f"answer {code}: it may do this, only what it named was missing")
    if code in NO_SUCH_CALL:
        return judged(name, True, f"answer {code}: the storage has no such call")
    if code in REFUSED | NO_SUCH_NAME or code == NOTHING:
        return judged(name, True, f"answer {code}")
    return failed(name, f"neither done nor refused: {code}")


def attacked(
    judge: Desk, key: StorageKey, calls: Calls, prefix: str, *, tricks: Calls | None = None
) -> Iterator[Finding]:
    """Every call once; each must be refused, and afterwards everything below ``prefix`` and the bucket are what they were.

    ``tricks``: calls that one storage may take for something harmless and another for harm; the answer tells nothing, the damage does.
    """
    before = state(judge, prefix)
    answers = judge.tried(calls, key)
    tricked = judge.tried(tricks or {}, key)
    damage = harm(before, state(judge, prefix))
    for name, code in answers.items():
        yield answered(name, code)
    for name, code in tricked.items():
        yield judged(name, not damage, f"answer {code}")
    whole = f"{len(before.stored)} versions, their locks and {len(before.settings)} settings as before"
    yield judged(
        "the storage afterwards, as its administrator sees it",
        not damage,
        at_most(damage) if damage else whole,
    )


def ask(operation: str, **words: Any) -> Callable[[Any], object]:
    """One call of the storage's API by the client library's name for it."""
    return lambda s3: getattr(s3, operation)(**words)


def batch(answer: Mapping[str, Any]) -> object:
    """DeleteObjects answers 200 and tells each refusal inside."""
    errors = answer.get("Errors", [])
    if errors and not answer.get("Deleted"):
        raise ClientError({"Error": {"Code": errors[0].get("Code", "unknown")}}, "DeleteObjects")
    return answer


def brought(answer: Mapping[str, Any], *names: str) -> object:
    """A listing that lists nothing gave nothing away."""
    if not any(answer.get(name) for name in names):
        raise ClientError({"Error": {"Code": NOTHING}}, "List")
    return answer


def with_header(s3: Any, operation: str, headers: Mapping[str, str], call: Callable[[], object]) -> object:
    """One call with headers that the client library does not know."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"].update(headers)

    event = f"before-call.s3.{operation}"
    s3.meta.events.register(event, add)
    try:
        return call()
    finally:
        s3.meta.events.unregister(event, add)


def nowhere(ground: Ground) -> str:
    """A name in the source's room where nothing stands, beside every repository: to be asked for by attempts that must harm nothing."""
    room = ground.path().rstrip("/").rpartition("/")[0]
    return f"{room}/drill-none-{secrets.token_hex(4)}/data/00/none"


@contextmanager
def caller(ground: Ground, key: StorageKey) -> Iterator[Desk]:
    """Who makes harmless calls: the judge's desk, or where there is none, one that knows the thief's key alone. Ask `unreached` before."""
    if ground.desk is not None:
        yield ground.desk
        return
    ca = None
    if ground.where.ca_certificate:
        ca = ground.folder / "storage-ca-thief.pem"
        ca.write_text(ground.where.ca_certificate)
    with desk(ground.where, key, ca) as made:
        yield made


def unreached(ground: Ground, key: StorageKey) -> str:
    """Why no call can be made from here; empty when it can."""
    if ground.desk is not None:
        return ""
    with caller(ground, key) as made:
        look = ask("get_bucket_location", Bucket=made.where.bucket)
        code = made.tried({"look": look}, key)["look"]
    return f"the storage is not reached from this machine: {code}" if code.startswith("not sent") else ""


def harmlessly(ground: Ground, key: StorageKey, calls: Callable[[str], Calls]) -> Iterator[Finding]:
    """Calls (by the bucket's name) that harm nothing even where they are let in, so without a judge as well."""
    if why := unreached(ground, key):
        yield not_played("harmless calls with the stolen identity", why)
        return
    with caller(ground, key) as made:
        bucket = made.where.bucket
        yield lists(made, key, ground.path())
        for name, code in made.tried(calls(bucket), key).items():
            yield answered(name, code)


def lists(made: Desk, key: StorageKey, path: str) -> Finding:
    look = ask("list_objects_v2", Bucket=made.where.bucket, Prefix=path, MaxKeys=1)
    code = made.tried({"list": look}, key)["list"]
    return control("the stolen identity lists the source's repository", code == "done", code)


def begun(bucket: str, name: str, days: float = 0.01) -> Calls:
    """Uploads that would end with a lock or a hold of the thief's, where nothing stands; begun only, and given up where they were let in."""

    def call(words: dict[str, Any]) -> Callable[[Any], object]:
        def begin(s3: Any) -> object:
            made = s3.create_multipart_upload(Bucket=bucket, Key=name, **words)
            return s3.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=made["UploadId"])

        return begin

    until = in_days(days)
    found = {
        f"begin an upload that ends locked, {mode.lower()}": call(
            {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
        )
        for mode in ("GOVERNANCE", "COMPLIANCE")
    }
    return found | {"begin an upload that ends held": call({"ObjectLockLegalHoldStatus": "ON"})}


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def furthest(judge: Desk, prefix: str) -> timedelta:
    """How long after its writing the longest locked version below the prefix stays locked; a legal hold is for ever."""
    stored = [one for one in judge.versions(prefix, contents=False, locks=True) if not one.marker]

    def asked(s3: Any) -> timedelta:
        most = timedelta()
        for one in stored:
            found = s3.head_object(Bucket=judge.where.bucket, Key=one.key, VersionId=one.version)
            if found.get("ObjectLockLegalHoldStatus") == "ON":
                return timedelta.max
            if until := found.get("ObjectLockRetainUntilDate"):
                most = max(most, until - found["LastModified"])
        return most

    return judge.do(asked)


def let_go(judge: Desk, prefix: str, keep_days: float) -> None:
    """What a hold or a long lock of a succeeded attack left is released as far as the storage lets its administrator."""
    if "/drill-" not in f"/{prefix}":
        raise AssertionError("only what a drill made is released")
    stored = [one for one in judge.versions(prefix, contents=False, locks=True) if not one.marker]

    def released(s3: Any) -> None:
        for one in stored:
            at = {"Bucket": judge.where.bucket, "Key": one.key, "VersionId": one.version}
            with suppress(ClientError):
                s3.put_object_legal_hold(**at, LegalHold={"Status": "OFF"})
            with suppress(ClientError):
                if s3.get_object_retention(**at)["Retention"]["RetainUntilDate"] > in_days(keep_days):
                    s3.put_object_retention(
                        **at,
                        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": in_days(keep_days)},
                        BypassGovernanceRetention=True,
                    )

    judge.do(released)
