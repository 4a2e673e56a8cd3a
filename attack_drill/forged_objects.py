"""Forges what root on a source can write with the repository's password: validly encrypted snapshots, indexes and locks of any content.

The format is that of restic's design document: AES-256-CTR, then Poly1305-AES over the ciphertext; a file's name is the SHA-256 of its content.
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
class MasterKey:
    """The key that opens everything in a repository. Whoever holds a password can read it."""

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
        # ECB of one block is plain AES, which Poly1305-AES needs.
        s = Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(nonce)  # noqa: S305
        return Poly1305.generate_tag(self.r + s, text)

    def file(self, document: Any) -> tuple[str, bytes]:
        """Name and content of a snapshot, index or lock file."""
        return content_named(self.seal(json.dumps(document).encode()))


def content_named(body: bytes) -> tuple[str, bytes]:
    """A file's name in restic's format, and its content."""
    return hashlib.sha256(body).hexdigest(), body


def open_master_key(key_file: bytes, password: str) -> MasterKey:
    """The master key in a key file that the password opens."""
    body = json.loads(key_file)
    raw = json.loads(derive_key(body, password).open(base64.b64decode(body["data"])))
    encrypt, k, r = (base64.b64decode(part) for part in (raw["encrypt"], raw["mac"]["k"], raw["mac"]["r"]))
    return MasterKey(encrypt=encrypt, k=k, r=r)


def derive_key(body: dict[str, Any], password: str) -> MasterKey:
    """The key derived from the password with a key file's salt and cost."""
    salt = base64.b64decode(body["salt"])
    key = hashlib.scrypt(
        password.encode(), salt=salt, n=body["N"], r=body["r"], p=body["p"], dklen=64, maxmem=1 << 30
    )
    return MasterKey(encrypt=key[:32], k=key[32:48], r=key[48:])


def cheap_key(key_file: bytes, password: str) -> tuple[str, bytes]:
    """Name and content of the same key in a file that opens at once; restic's own cost half a second of a processor at every command.

    Only for a long random password: of any other it makes guesses cheap.
    """
    body = json.loads(key_file)
    plain = derive_key(body, password).open(base64.b64decode(body["data"]))
    body |= {"N": 1024, "p": 1}
    body["data"] = base64.b64encode(derive_key(body, password).seal(plain)).decode()
    return content_named(json.dumps(body).encode())


def bogus_key(real: bytes, number: int) -> tuple[str, bytes]:
    """Name and content of a well-formed key file that no password opens."""
    body = {**json.loads(real), "hostname": f"\x1b]0;evil{number}\x07", "data": base64.b64encode(bytes(200)).decode()}  # fmt: skip
    return content_named(json.dumps(body).encode())
