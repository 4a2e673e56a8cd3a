"""Forgeries of a source's root, put into a bed's repository; how they are made: attack_drill/forge.py."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

from attack_drill.forged_objects import MasterKey, derive_key, open_master_key
from tests.recover.bed import BUCKET, PASSWORD, Bed


def master_of(bed: Bed) -> MasterKey:
    return open_master_key(_key_file(bed), PASSWORD)


def _key_file(bed: Bed) -> bytes:
    key = f"{bed.prefix}keys/{bed.access.room.key_id}"
    return bytes(bed.s3.get_object(Bucket=BUCKET.name, Key=key)["Body"].read())


def cheap(key_file: bytes, password: str) -> tuple[str, bytes]:
    """Name and content of a key file that costs no half second of a processor to open: tests open it hundreds of times."""
    body = json.loads(key_file)
    plain = derive_key(body, password).open(base64.b64decode(body["data"]))
    body["N"] = 1024
    body["data"] = base64.b64encode(derive_key(body, password).seal(plain)).decode()
    text = json.dumps(body).encode()
    return hashlib.sha256(text).hexdigest(), text


def with_a_cheap_key(bed: Bed) -> Bed:
    """The same repository behind such a key."""
    name, text = cheap(_key_file(bed), PASSWORD)
    bed.put(f"keys/{name}", text)
    bed.hide(f"keys/{bed.access.room.key_id}")
    return replace(bed, access=replace(bed.access, room=bed.access.room.model_copy(update={"key_id": name})))


def put_sealed(bed: Bed, place: str, documents: Iterable[Any]) -> list[str]:
    """Each document under the name that its content has; the names below ``place``."""
    master = master_of(bed)
    files = [master.file(document) for document in documents]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda file: bed.put(f"{place}/{file[0]}", file[1]), files))
    return [name for name, _ in files]


def snapshots(bed: Bed) -> list[dict[str, Any]]:
    with bed.restic(key_hint=bed.access.room.key_id) as live:
        return live.snapshots()


def snapshot_like(bed: Bed, times: Iterable[datetime | str], **claims: Any) -> list[str]:
    """Snapshots of the newest real one's tree that claim these times, and whatever else is given."""
    real = max(snapshots(bed), key=lambda one: str(one["time"]))
    plain = {name: real[name] for name in ("tree", "paths", "hostname", "username")}
    return put_sealed(
        bed,
        "snapshots",
        (
            {**plain, "time": at if isinstance(at, str) else at.isoformat(), "uid": 0, **claims}
            for at in times
        ),
    )


def packs(bed: Bed) -> list[str]:
    return [name for name in bed.names() if name.startswith("data/")]


def indexes(bed: Bed) -> list[dict[str, Any]]:
    """What the live indexes say."""
    with bed.restic(key_hint=bed.access.room.key_id) as live:
        names = [name for name in bed.names() if name.startswith("index/")]
        return [json.loads(live.ask("cat", "index", name.removeprefix("index/")).out) for name in names]
