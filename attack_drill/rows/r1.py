"""R1: whoever stole a source's storage identity deletes every object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, judged, not_played
from attack_drill.options import Level
from attack_drill.stolen_identity import (
    RESTIC_LOCK,
    Calls,
    api_call,
    call_with_headers,
    check_backup_calls,
    play_calls,
    play_harmless_calls,
    raise_batch_errors,
    unused_key,
)

# minio's own header: deletes everything below a prefix.
FORCE = {"x-minio-force-delete": "true"}


def harmless(bucket: str, name: str) -> Calls:
    """Deletions of a key that does not exist: they must be refused as well, and do no harm if they are not."""
    return {
        "delete a key that does not exist": api_call("delete_object", Bucket=bucket, Key=name),
        "delete it in a batch": lambda s3: raise_batch_errors(s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}]})),
        "delete it quietly": lambda s3: raise_batch_errors(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}], "Quiet": True})
        ),
    }  # fmt: skip


def calls(bucket: str, path: str, names: list[str]) -> Calls:
    """Deletions of every object: one by one, all at once, in a batch with a lock, and by a server's own extensions."""
    some = next(name for name in names if "/data/" in name)
    found: Calls = {f"delete {name}": api_call("delete_object", Bucket=bucket, Key=name) for name in names}
    objects = [{"Key": name} for name in names]
    lock = {"Key": f"{path}/locks/{'0' * 64}"}
    found |= {
        "delete all at once": lambda s3: raise_batch_errors(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        ),
        "delete all at once, quietly": lambda s3: raise_batch_errors(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        ),
        "delete all in one batch that begins with a lock": lambda s3: only(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [lock, *objects]}), lock["Key"]
        ),
        "the same object a thousand times": lambda s3: raise_batch_errors(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": some}] * 1000})
        ),
        "delete if it is what it is": lambda s3: s3.delete_object(
            Bucket=bucket, Key=some, IfMatch=s3.head_object(Bucket=bucket, Key=some)["ETag"]
        ),
    }
    for word in ("", "/", "/data", "/data/", "/keys/", "/snapshots/"):
        found[f"delete the folder {word or 'itself'}"] = api_call(
            "delete_object", Bucket=bucket, Key=path + word
        )
        found[f"delete below {word or 'it'} by force"] = forced(bucket, path + word)
    return found


def forced(bucket: str, key: str) -> Callable[[Any], object]:
    return lambda s3: call_with_headers(
        s3, "DeleteObject", FORCE, lambda: s3.delete_object(Bucket=bucket, Key=key)
    )


def tricks(bucket: str, path: str) -> Calls:
    """Deletions below ``locks/``, which the identity may delete from, of names that a careless storage might resolve to others."""
    words = (
        "locks/../config", "locks/./../config", "locks/%2e%2e/config", "locks//../config", "./config", "/config", "config/", "locks/", "locks",
    )  # fmt: skip
    plain: Calls = {
        f"delete {word}": api_call("delete_object", Bucket=bucket, Key=f"{path}/{word}") for word in words
    }
    strong: Calls = {
        f"delete below {word} by force": forced(bucket, f"{path}/{word}")
        for word in ("locks/", "locks/..", "locks/../")
    }
    return plain | strong


def only(answer: Any, lock: str) -> object:
    """Raise unless a batch of one lock and other objects deleted at most the lock."""
    rest = [one for one in answer.get("Deleted", []) if one["Key"] != lock]
    return raise_batch_errors({**answer, "Deleted": rest})


def play(drill: Drill) -> Iterator[RowFinding]:
    key = drill.stolen_key()
    if not drill.may(Level.SCRATCH):
        yield from play_harmless_calls(drill, key, lambda bucket: harmless(bucket, unused_key(drill)))
        yield not_played("deleting existing objects", Level.SCRATCH.words)
        return
    storage, scratch = drill.require_storage(), drill.scratch_repository(fresh=True)
    bucket = storage.where.bucket
    stored = storage.versions(scratch.path, contents=False)
    yield check_backup_calls(storage, key, scratch.path, stored[0].key)
    tries = calls(bucket, scratch.path, sorted({one.key for one in stored})) | harmless(
        bucket, unused_key(drill)
    )
    yield from play_calls(storage, key, tries, scratch.path, tricks=tricks(bucket, scratch.path))
    kept = [one for one in storage.versions(f"{scratch.path}/{RESTIC_LOCK}", locks=True) if not one.marker]
    yield judged("the deleted lock keeps its version", len(kept) == 1, f"{len(kept)} versions of it")  # fmt: skip
    yield judged("the known tree restores", *scratch.try_restore())
