"""What root on a source can write with its own password, made without restic: snapshots, indexes, locks of any content, validly encrypted.

restic's format as its design document gives it (docs: design.rst): AES-256-CTR, then Poly1305-AES over the ciphertext; names are SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tests.recover.bed import BUCKET, PASSWORD, Bed


@dataclass(frozen=True)
class Master:
    """The repository's master key, which every holder of a password can read."""

    encrypt: bytes
    k: bytes
    r: bytes

    def seal(self, plain: bytes) -> bytes:
        nonce = os.urandom(16)
        text = Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).encryptor().update(plain)
        return nonce + text + self._mac(nonce, text)

    def open(self, sealed: bytes) -> bytes:
        nonce, text, mac = sealed[:16], sealed[16:-16], sealed[-16:]
        assert mac == self._mac(nonce, text)
        return Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).decryptor().update(text)

    def _mac(self, nonce: bytes, text: bytes) -> bytes:
        # ECB of one block is AES itself, which Poly1305-AES asks for.
        s = Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(nonce)  # noqa: S305
        return Poly1305.generate_tag(self.r + s, text)


def master_of(bed: Bed) -> Master:
    return master_in(_key_file(bed), PASSWORD)


def master_in(key_file: bytes, password: str) -> Master:
    body = json.loads(key_file)
    raw = json.loads(_derived(body, password).open(base64.b64decode(body["data"])))
    return Master(*(base64.b64decode(part) for part in (raw["encrypt"], raw["mac"]["k"], raw["mac"]["r"])))


def _key_file(bed: Bed) -> bytes:
    key = f"{bed.prefix}keys/{bed.access.room.key_id}"
    return bytes(bed.s3.get_object(Bucket=BUCKET.name, Key=key)["Body"].read())


def _derived(body: dict[str, Any], password: str) -> Master:
    salt, cost = base64.b64decode(body["salt"]), {name: body[name] for name in ("r", "p")}
    key = hashlib.scrypt(password.encode(), salt=salt, n=body["N"], **cost, dklen=64, maxmem=1 << 30)
    return Master(key[:32], key[32:48], key[48:])


def cheap(key_file: bytes, password: str) -> tuple[str, bytes]:
    """Name and content of a key file that costs no half second of a processor to open: tests open it hundreds of times."""
    body = json.loads(key_file)
    plain = _derived(body, password).open(base64.b64decode(body["data"]))
    body["N"] = 1024
    body["data"] = base64.b64encode(_derived(body, password).seal(plain)).decode()
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
    bodies = [master.seal(json.dumps(document).encode()) for document in documents]
    names = [hashlib.sha256(body).hexdigest() for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda pair: bed.put(f"{place}/{pair[0]}", pair[1]), zip(names, bodies, strict=True)))
    return names


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
