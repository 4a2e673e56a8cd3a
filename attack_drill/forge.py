"""What root on a source can write with its own password, made without restic: snapshots, indexes, locks of any content, validly encrypted.

restic's format as its design document gives it: AES-256-CTR, then Poly1305-AES over the ciphertext; a name is the content's SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305


@dataclass(frozen=True, kw_only=True)
class Master:
    """The key that opens everything in a repository; every holder of a password can read it."""

    encrypt: bytes = field(repr=False)
    k: bytes = field(repr=False)
    r: bytes = field(repr=False)

    def seal(self, plain: bytes) -> bytes:
        nonce = os.urandom(16)
        text = Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).encryptor().update(plain)
        return nonce + text + self._mac(nonce, text)

    def open(self, sealed: bytes) -> bytes:
        nonce, text, mac = sealed[:16], sealed[16:-16], sealed[-16:]
        if mac != self._mac(nonce, text):
            raise ValueError("not sealed with this key")
        return Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).decryptor().update(text)

    def _mac(self, nonce: bytes, text: bytes) -> bytes:
        # ECB of one block is AES itself, which Poly1305-AES asks for.
        s = Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(nonce)  # noqa: S305
        return Poly1305.generate_tag(self.r + s, text)

    def file(self, document: Any) -> tuple[str, bytes]:
        """Name and content of a snapshot, index or lock file."""
        return named(self.seal(json.dumps(document).encode()))


def named(body: bytes) -> tuple[str, bytes]:
    """Anything under the name that restic's format gives it."""
    return hashlib.sha256(body).hexdigest(), body


def master_in(key_file: bytes, password: str) -> Master:
    """The master key in a key file."""
    body = json.loads(key_file)
    raw = json.loads(derived(body, password).open(base64.b64decode(body["data"])))
    encrypt, k, r = (base64.b64decode(part) for part in (raw["encrypt"], raw["mac"]["k"], raw["mac"]["r"]))
    return Master(encrypt=encrypt, k=k, r=r)


def derived(body: dict[str, Any], password: str) -> Master:
    """The key that the password is, with a key file's salt and cost."""
    salt = base64.b64decode(body["salt"])
    key = hashlib.scrypt(
        password.encode(), salt=salt, n=body["N"], r=body["r"], p=body["p"], dklen=64, maxmem=1 << 30
    )
    return Master(encrypt=key[:32], k=key[32:48], r=key[48:])


def bogus_key(real: bytes, number: int) -> tuple[str, bytes]:
    """A well-formed key that opens nothing."""
    body = {**json.loads(real), "hostname": f"\x1b]0;evil{number}\x07", "data": base64.b64encode(bytes(200)).decode()}  # fmt: skip
    return named(json.dumps(body).encode())
