"""R1: who took a source's storage identity deletes every object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.thief import Calls, ask, attacked, batch, harmlessly, nowhere, with_header

# minio's own: deletes everything below a prefix.
FORCE = {"x-minio-force-delete": "true"}


def harmless(bucket: str, name: str) -> Calls:
    """Asked for where nothing stands: the refusal is the same, and there is nothing to lose."""
    return {
        "delete a name where nothing stands": ask("delete_object", Bucket=bucket, Key=name),
        "delete it in a batch": lambda s3: batch(s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}]})),
        "delete it quietly": lambda s3: batch(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}], "Quiet": True})
        ),
    }  # fmt: skip


def calls(bucket: str, path: str, names: list[str]) -> Calls:
    """Every object alone, all at once, behind a lock's name, and by a server's own ways."""
    some = next(name for name in names if "/data/" in name)
    found: Calls = {f"delete {name}": ask("delete_object", Bucket=bucket, Key=name) for name in names}
    objects = [{"Key": name} for name in names]
    lock = {"Key": f"{path}/locks/{'0' * 64}"}
    found |= {
        "delete all at once": lambda s3: batch(s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})),
        "delete all at once, quietly": lambda s3: batch(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        ),
        "delete all in one batch that begins with a lock": lambda s3: only(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [lock, *objects]}), lock["Key"]
        ),
        "the same object a thousand times": lambda s3: batch(
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": some}] * 1000})
        ),
        "delete if it is what it is": lambda s3: s3.delete_object(
            Bucket=bucket, Key=some, IfMatch=s3.head_object(Bucket=bucket, Key=some)["ETag"]
        ),
    }
    for word in ("", "/", "/data", "/data/", "/keys/", "/snapshots/"):
        found[f"delete the folder {word or 'itself'}"] = ask("delete_object", Bucket=bucket, Key=path + word)
        found[f"delete below {word or 'it'} by force"] = forced(bucket, path + word)
    return found


def forced(bucket: str, key: str) -> Callable[[Any], object]:
    return lambda s3: with_header(s3, "DeleteObject", FORCE, lambda: s3.delete_object(Bucket=bucket, Key=key))


def tricks(bucket: str, path: str) -> Calls:
    """Names below ``locks/``, which the identity may delete, and what a careless storage might read in them."""
    words = (
        "locks/../config", "locks/./../config", "locks/%2e%2e/config", "locks//../config", "./config", "/config", "config/", "locks/", "locks",
    )  # fmt: skip
    plain: Calls = {
        f"delete {word}": ask("delete_object", Bucket=bucket, Key=f"{path}/{word}") for word in words
    }
    strong: Calls = {
        f"delete below {word} by force": forced(bucket, f"{path}/{word}")
        for word in ("locks/", "locks/..", "locks/../")
    }
    return plain | strong


def only(answer: Any, lock: str) -> object:
    """A batch of one lock and other objects: at most the lock may be gone."""
    rest = [one for one in answer.get("Deleted", []) if one["Key"] != lock]
    return batch({**answer, "Deleted": rest})


def play(ground: Ground) -> Iterator[Finding]:
    key = ground.thief()
    if not ground.may(Level.THROWAWAY):
        yield from harmlessly(ground, key, lambda bucket: harmless(bucket, nowhere(ground)))
        yield not_played("deleting what stands", Level.THROWAWAY.words)
        return
    judge, made = ground.judge(), ground.throwaway(fresh=True)
    bucket = judge.where.bucket
    stored = judge.versions(made.path, contents=False)
    lock = f"{made.path}/locks/{'1' * 64}"
    works = judge.tried(
        {
            "write": ask("put_object", Bucket=bucket, Key=lock, Body=b"drill"),
            "read": lambda s3: s3.get_object(Bucket=bucket, Key=stored[0].key)["Body"].read(),
            "unlock": ask("delete_object", Bucket=bucket, Key=lock),
        },
        key,
    )
    yield control("the stolen identity does what every backup does", set(works.values()) == {"done"}, works)  # fmt: skip
    tries = calls(bucket, made.path, sorted({one.key for one in stored})) | harmless(bucket, nowhere(ground))
    yield from attacked(judge, key, tries, made.path, tricks=tricks(bucket, made.path))
    kept = [one for one in judge.versions(lock, locks=True) if not one.marker]
    yield judged("the lock that was taken away keeps its version", len(kept) == 1, f"{len(kept)} versions of it")  # fmt: skip
    yield judged("the known tree restores", *made.restored())
