"""Storage that is really weaker: a wider policy for a source's identity, or another bucket in the place of the locked one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from components.vault.identities.identity_policy import identity_policy
from sandbox import Sandbox
from sandbox.bucket import _admin
from tests.drill.conftest import Stage

SOURCES = ("web1", "db1")


@contextmanager
def policy(stage: Stage, source: str, *more: Mapping[str, Any], room: str | None = None) -> Iterator[None]:
    """The source's identity with further statements, or with another room; put back afterwards."""
    box, where = Sandbox(stage.machines.directory), stage.ground.judge().where
    key, real = stage.ground.thief(source).access_key_id, stage.ground.where.bucket

    def put(document: Mapping[str, Any]) -> None:
        with box.storage_admin() as (origin, *_):
            _admin(box.storage_folder, origin).policy_add(f"source-{key}", policy=document)

    own = f"{where.prefix}/{source}/".lstrip("/")
    document = identity_policy(real, own)
    if room is not None:
        # A room that is the whole bucket: the renderer itself refuses to write it.
        document["Statement"] = [_elsewhere(one, own, room) for one in document["Statement"]]
    put({**document, "Statement": [*document["Statement"], *more]})
    try:
        yield
    finally:
        put(identity_policy(real, own))


def _elsewhere(statement: Mapping[str, Any], own: str, room: str) -> dict[str, Any]:
    found = dict(statement)
    found["Resource"] = [one.replace(f"/{own}", f"/{room}") for one in statement["Resource"]]
    if "Condition" in statement:
        found["Condition"] = {"StringLike": {"s3:prefix": [f"{room}*"]}}
    return found


def everything(bucket: str) -> dict[str, Any]:
    of_bucket = f"arn:aws:s3:::{bucket}"
    return {"Effect": "Allow", "Action": ["s3:*"], "Resource": [of_bucket, f"{of_bucket}/*"]}


@contextmanager
def bucket(stage: Stage, *, lock: str | None) -> Iterator[None]:
    """Both sources' entries and the judge look at a bucket of another lock, or without versions, where their identities may do everything."""
    judge = stage.ground.judge()
    real, name = judge.where, f"weak-{secrets.token_hex(4)}"

    def make(s3: Any) -> None:
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock is not None)
        if lock:
            rule = {"DefaultRetention": {"Mode": lock, "Days": 1}}
            s3.put_object_lock_configuration(
                Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
            )
        for source in SOURCES:
            s3.put_object(Bucket=name, Key=f"{source}/g1/config", Body=b"stands")

    judge.do(make)
    with ExitStack() as back:
        for source in SOURCES:
            back.enter_context(policy(stage, source, everything(name)))
            back.enter_context(_served_from(stage, source, real.bucket, name))
        judge.where = real.model_copy(update={"bucket": name})
        try:
            yield
        finally:
            judge.where = real


@contextmanager
def _served_from(stage: Stage, source: str, real: str, name: str) -> Iterator[None]:
    conf = f"/etc/lastcopy/relay/{source}/serve.conf"
    stage.machines.shell(
        "relay",
        f"cp -a {conf} /root/{source}.kept && sed -i 's#arg lastcopy:{real}/#arg lastcopy:{name}/#' {conf} && ! cmp -s {conf} /root/{source}.kept",
    )
    try:
        yield
    finally:
        stage.machines.shell("relay", f"cp -a /root/{source}.kept {conf} && rm /root/{source}.kept")
