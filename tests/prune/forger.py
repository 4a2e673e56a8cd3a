"""Forgeries by root on a source, put into a test repository; how they are made: attack_drill/forge.py."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from attack_drill.forged_objects import MasterKey, open_master_key
from tests.recover.bed import BUCKET, PASSWORD, Bed


def master_of(bed: Bed) -> MasterKey:
    return open_master_key(_key_file(bed), PASSWORD)


def _key_file(bed: Bed) -> bytes:
    key = f"{bed.prefix}keys/{bed.access.record.key_id}"
    return bytes(bed.s3.get_object(Bucket=BUCKET.name, Key=key)["Body"].read())


def put_sealed(bed: Bed, place: str, documents: Iterable[Any]) -> list[str]:
    """Store each document under the name that fits its content, below ``place``."""
    master = master_of(bed)
    files = [master.file(document) for document in documents]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda file: bed.put(f"{place}/{file[0]}", file[1]), files))
    return [name for name, _ in files]


def snapshots(bed: Bed) -> list[dict[str, Any]]:
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        return live.snapshots()


def snapshot_like(bed: Bed, times: Iterable[datetime | str], **claims: Any) -> list[str]:
    """Snapshots of the newest real snapshot's tree that claim these times, with the other given values."""
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
    """The contents of the live indexes."""
    with bed.restic(key_hint=bed.access.record.key_id) as live:
        names = [name for name in bed.names() if name.startswith("index/")]
        return [json.loads(live.ask("cat", "index", name.removeprefix("index/")).out) for name in names]
