"""Calls the storage's API directly with a stolen storage identity, past rclone; the storage's administrator judges what happened.

The identity is the one that root on the relay can read (`Drill.stolen_key`). The calls are made from where the drill runs: what is tried is the
identity, not the relay's network.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, failed, judged, not_played
from attack_drill.storage_admin import StorageAdmin, StoredVersion, find_losses, open_storage_admin
from ops.storage.access import StorageKey

Calls = dict[str, Callable[[Any], object]]
RESTIC_LOCK = f"locks/{'1' * 64}"  # a name such as restic's own
# Refused by policy or by the lock: without a bypass minio checks the lock first, and answers InvalidRequest.
REFUSED = frozenset({"AccessDenied", "403", "InvalidRequest", "ObjectLocked", "MethodNotAllowed", "AllAccessDisabled", "InvalidBucketState"})  # fmt: skip
# The storage does not know the call; what counts then is that nothing changed.
NO_SUCH_CALL = frozenset({"NotImplemented", "MalformedXML", "UnsupportedOperation", "501"})
# A name that the storage does not accept, such as one with dots that mean folders.
NO_SUCH_NAME = frozenset({"XMinioInvalidResourceName", "XMinioInvalidObjectName"})
# The name does not exist, so the call itself was allowed.
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "ObjectNotFound", "NoSuchUpload"})
NOTHING = "Nothing"  # our own code for an answer that has no content


@dataclass(frozen=True, kw_only=True)
class StorageState:
    """The storage at one moment: versions with their digests, their locks, the bucket's settings."""

    stored: list[StoredVersion]
    locks: Mapping[tuple[str, str], str]
    settings: Mapping[str, str]


def read_state(storage: StorageAdmin, prefix: str) -> StorageState:
    stored = storage.versions(prefix)
    return StorageState(
        stored=stored,
        locks=storage.retention(one for one in stored if not one.marker),
        settings=storage.settings(),
    )


def find_harm(before: StorageState, after: StorageState) -> list[str]:
    """Versions that were lost, changed or hidden; locks and settings that changed."""
    locks = [
        f"lock changed: {key}"
        for (key, version), was in before.locks.items()
        if after.locks.get((key, version), was) != was
    ]
    settings = [f"setting changed: {name}" for name, was in before.settings.items() if after.settings[name] != was]  # fmt: skip
    return [*find_losses(before.stored, after.stored), *sorted(locks), *sorted(settings)]


def abbreviate(found: list[str], most: int = 4) -> str:
    """The first few entries, and how many more there are."""
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + rest


def judge_answer(name: str, code: str) -> RowFinding:
    """Judge one call by the storage's answer: refused, done, or something that tells neither."""
    if code == "done":
        return judged(name, False, "done")
    if code in MISSING:
        return judged(name, False, f"answer {code}: the call was allowed, only its object does not exist")
    if code in NO_SUCH_CALL:
        return judged(name, True, f"answer {code}: the storage does not know this call")
    if code in REFUSED | NO_SUCH_NAME or code == NOTHING:
        return judged(name, True, f"answer {code}")
    return failed(name, f"neither done nor refused: {code}")


def play_calls(
    storage: StorageAdmin, key: StorageKey, calls: Calls, prefix: str, *, tricks: Calls | None = None
) -> Iterator[RowFinding]:
    """Make every call once. Each must be refused, and afterwards everything below a prefix, and the bucket, must be as before.

    Args:
        storage: The storage as its administrator sees it.
        key: The stolen identity.
        calls: The calls by what they try.
        prefix: What must not change.
        tricks: Calls that one storage understands as harmless and another as harm; they are judged by the damage alone.
    """
    before = read_state(storage, prefix)
    answers = storage.try_calls(calls, key)
    tricked = storage.try_calls(tricks or {}, key)
    damage = find_harm(before, read_state(storage, prefix))
    for name, code in answers.items():
        yield judge_answer(name, code)
    for name, code in tricked.items():
        yield judged(name, not damage, f"answer {code}")
    whole = f"{len(before.stored)} versions, their locks and {len(before.settings)} settings as before"
    yield judged(
        "the storage afterwards, as its administrator sees it",
        not damage,
        abbreviate(damage) if damage else whole,
    )


def api_call(operation: str, **words: Any) -> Callable[[Any], object]:
    """One call of the storage's API, by the client library's name for it."""
    return lambda s3: getattr(s3, operation)(**words)


def raise_batch_errors(answer: Mapping[str, Any]) -> object:
    """Raise what DeleteObjects reports inside an answer with status 200."""
    errors = answer.get("Errors", [])
    if errors and not answer.get("Deleted"):
        raise ClientError({"Error": {"Code": errors[0].get("Code", "unknown")}}, "DeleteObjects")
    return answer


def require_content(answer: Mapping[str, Any], *names: str) -> object:
    """Raise `NOTHING` for a listing that lists nothing, because it gives nothing away."""
    if not any(answer.get(name) for name in names):
        raise ClientError({"Error": {"Code": NOTHING}}, "List")
    return answer


def call_with_headers(
    s3: Any, operation: str, headers: Mapping[str, str], call: Callable[[], object]
) -> object:
    """Make one call with headers that the client library does not know."""

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"].update(headers)

    event = f"before-call.s3.{operation}"
    s3.meta.events.register(event, add)
    try:
        return call()
    finally:
        s3.meta.events.unregister(event, add)


def unused_key(drill: Drill) -> str:
    """A key below the source's prefix where no object is, outside every repository: for attempts that must not do harm."""
    prefix = drill.path().rstrip("/").rpartition("/")[0]
    return f"{prefix}/drill-none-{secrets.token_hex(4)}/data/00/none"


@contextmanager
def open_caller(drill: Drill, key: StorageKey) -> Iterator[StorageAdmin]:
    """A client for harmless calls: the drill's own, or without one a client that has only the stolen key. Ask `why_unreachable` first."""
    if drill.storage is not None:
        yield drill.storage
        return
    ca = None
    if drill.where.ca_certificate:
        ca = drill.folder / "storage-ca-stolen.pem"
        ca.write_text(drill.where.ca_certificate)
    with open_storage_admin(drill.where, key, ca) as made:
        yield made


def why_unreachable(drill: Drill, key: StorageKey) -> str:
    """Why no call can be made from this machine; empty if calls can be made."""
    if drill.storage is not None:
        return ""
    with open_caller(drill, key) as made:
        look = api_call("get_bucket_location", Bucket=made.where.bucket)
        code = made.try_calls({"look": look}, key)["look"]
    return f"the storage cannot be reached from this machine: {code}" if code.startswith("not sent") else ""


def play_harmless_calls(drill: Drill, key: StorageKey, calls: Callable[[str], Calls]) -> Iterator[RowFinding]:
    """Make calls that do no harm even if they are allowed, so that no storage key is needed to judge them.

    Args:
        drill: The drill.
        key: The stolen identity.
        calls: The calls, given the bucket's name.
    """
    if why := why_unreachable(drill, key):
        yield not_played("harmless calls with the stolen identity", why)
        return
    with open_caller(drill, key) as made:
        bucket = made.where.bucket
        yield check_listing(made, key, drill.path())
        for name, code in made.try_calls(calls(bucket), key).items():
            yield judge_answer(name, code)


def check_backup_calls(storage: StorageAdmin, key: StorageKey, path: str, some: str) -> RowFinding:
    """A control: the stolen identity writes a restic lock, reads an object and hides the lock, as every backup does."""
    bucket, lock = storage.where.bucket, f"{path}/{RESTIC_LOCK}"
    works = storage.try_calls(
        {
            "write a restic lock": api_call("put_object", Bucket=bucket, Key=lock, Body=b"drill"),
            "read an object": lambda s3: s3.get_object(Bucket=bucket, Key=some)["Body"].read(),
            "delete the lock": api_call("delete_object", Bucket=bucket, Key=lock),
        },
        key,
    )
    return control("the stolen identity does what every backup does", set(works.values()) == {"done"}, works)


def check_listing(made: StorageAdmin, key: StorageKey, path: str) -> RowFinding:
    """A control: the stolen identity can list the source's repository."""
    look = api_call("list_objects_v2", Bucket=made.where.bucket, Prefix=path, MaxKeys=1)
    code = made.try_calls({"list": look}, key)["list"]
    return control("the stolen identity lists the source's repository", code == "done", code)


def locked_upload_calls(bucket: str, name: str, days: float = 0.01) -> Calls:
    """Multipart uploads to an unused key with a lock or a legal hold of the attacker's choice; each is aborted if it was allowed."""

    def call(words: dict[str, Any]) -> Callable[[Any], object]:
        def begin(s3: Any) -> object:
            made = s3.create_multipart_upload(Bucket=bucket, Key=name, **words)
            return s3.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=made["UploadId"])

        return begin

    until = days_from_now(days)
    found = {
        f"begin an upload that ends locked, {mode.lower()}": call(
            {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
        )
        for mode in ("GOVERNANCE", "COMPLIANCE")
    }
    return found | {"begin an upload that ends held": call({"ObjectLockLegalHoldStatus": "ON"})}


def days_from_now(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def longest_lock(storage: StorageAdmin, prefix: str) -> timedelta:
    """The longest time from a version's upload to the end of its lock, below a prefix; `timedelta.max` for a legal hold."""
    stored = [one for one in storage.versions(prefix, contents=False, locks=True) if not one.marker]

    def asked(s3: Any) -> timedelta:
        most = timedelta()
        for one in stored:
            found = s3.head_object(Bucket=storage.where.bucket, Key=one.key, VersionId=one.version)
            if found.get("ObjectLockLegalHoldStatus") == "ON":
                return timedelta.max
            if until := found.get("ObjectLockRetainUntilDate"):
                most = max(most, until - found["LastModified"])
        return most

    return storage.call(asked)


def release_locks(storage: StorageAdmin, prefix: str, keep_days: float) -> None:
    """Remove holds and shorten locks that an attack left on a drill's own objects, as far as the storage allows its administrator."""
    if "/drill-" not in f"/{prefix}":
        raise AssertionError("only what a drill made may be released")
    stored = [one for one in storage.versions(prefix, contents=False, locks=True) if not one.marker]

    def released(s3: Any) -> None:
        for one in stored:
            at = {"Bucket": storage.where.bucket, "Key": one.key, "VersionId": one.version}
            with suppress(ClientError):
                s3.put_object_legal_hold(**at, LegalHold={"Status": "OFF"})
            with suppress(ClientError):
                if s3.get_object_retention(**at)["Retention"]["RetainUntilDate"] > days_from_now(keep_days):
                    s3.put_object_retention(
                        **at,
                        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": days_from_now(keep_days)},
                        BypassGovernanceRetention=True,
                    )

    storage.call(released)
