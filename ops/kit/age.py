"""Files that the age program opens, and opens files that it wrote: passphrase or X25519 recipients, format age-encryption.org/v1.

Only the container is ours; every primitive is of the `cryptography` package. Written from the format's specification (C2SP, age.md).
Whole files in memory: a kit is a few kilobytes. No ASCII armor, no plugins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"age-encryption.org/v1\n"
WORK_FACTOR = 17  # log2 of scrypt's N: 128 MiB and about half a second, for each guess too
MOST_WORK = 20  # a hostile file must not take all memory
CHUNK = 65536
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_ZERO = bytes(12)


class AgeError(Exception):
    """The file is not ours to open, is damaged, or what was given does not open it."""


def encrypt(text: bytes, *, passphrase: str | None = None, recipients: Sequence[str] = ()) -> bytes:
    """To one passphrase, or to any of the recipients (``age1…``)."""
    if (passphrase is None) == (not recipients):
        raise AgeError("a passphrase or recipients, not both")
    file_key = os.urandom(16)
    stanzas = (
        [_scrypt_stanza(file_key, passphrase)]
        if passphrase is not None
        else [_x25519_stanza(file_key, _public(recipient)) for recipient in recipients]
    )
    head = MAGIC + b"".join(stanzas) + b"---"
    nonce = os.urandom(16)
    return (
        head + b" " + _b64(_mac(file_key, head)) + b"\n" + nonce + _seal(_payload_key(file_key, nonce), text)
    )


def decrypt(sealed: bytes, *, passphrase: str | None = None, identity: str | None = None) -> bytes:
    """With the passphrase, or with an identity (``AGE-SECRET-KEY-1…``)."""
    head, stanzas, mac, body = _parse(sealed)
    file_key = None
    for arguments, wrapped in stanzas:
        if arguments[0] == "scrypt" and passphrase is not None and len(stanzas) == 1:
            file_key = _unwrap_scrypt(arguments, wrapped, passphrase)
        elif arguments[0] == "X25519" and identity is not None:
            file_key = file_key or _unwrap_x25519(arguments, wrapped, identity)
    if file_key is None:
        kinds = ", ".join(sorted({arguments[0] for arguments, _ in stanzas if arguments[0].isalnum()}))
        raise AgeError(f"what was given does not open it (it was sealed for: {kinds})")
    if not hmac.compare_digest(_mac(file_key, head), mac) or len(body) < 16:
        raise AgeError("its header was changed")
    return _open(_payload_key(file_key, body[:16]), body[16:])


def _scrypt_stanza(file_key: bytes, passphrase: str) -> bytes:
    salt = os.urandom(16)
    wrapped = ChaCha20Poly1305(_scrypt(passphrase, salt, WORK_FACTOR)).encrypt(_ZERO, file_key, None)
    return b"-> scrypt " + _b64(salt) + f" {WORK_FACTOR}\n".encode() + _b64(wrapped) + b"\n"


def _scrypt(passphrase: str, salt: bytes, work: int) -> bytes:
    return hashlib.scrypt(
        passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt,
        n=2**work, r=8, p=1, dklen=32, maxmem=2 ** (work + 10) + 2**20,
    )  # fmt: skip


def _unwrap_scrypt(arguments: list[str], wrapped: bytes, passphrase: str) -> bytes | None:
    if len(arguments) != 3 or not arguments[2].isascii() or not arguments[2].isdigit():
        raise AgeError("its passphrase stanza is malformed")
    work = int(arguments[2][:4])
    if work > MOST_WORK:
        raise AgeError(f"it asks for more memory than is sane (work factor {work}, at most {MOST_WORK})")
    return _unwrap(_scrypt(passphrase, _unb64(arguments[1], 16), work), wrapped)


def _x25519_stanza(file_key: bytes, recipient: bytes) -> bytes:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    key = _x25519_key(ephemeral, recipient, share, recipient)
    wrapped = ChaCha20Poly1305(key).encrypt(_ZERO, file_key, None)
    return b"-> X25519 " + _b64(share) + b"\n" + _b64(wrapped) + b"\n"


def _x25519_key(own: X25519PrivateKey, other: bytes, share: bytes, recipient: bytes) -> bytes:
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # a point of low order
        raise AgeError("its key share is not a proper one") from None
    return _hkdf(shared, share + recipient, b"age-encryption.org/v1/X25519")


def _unwrap_x25519(arguments: list[str], wrapped: bytes, identity: str) -> bytes | None:
    own = X25519PrivateKey.from_private_bytes(_bech32(identity, "age-secret-key-"))
    if len(arguments) != 2:
        raise AgeError("its recipient stanza is malformed")
    share = _unb64(arguments[1], 32)
    return _unwrap(_x25519_key(own, share, share, own.public_key().public_bytes_raw()), wrapped)


def _unwrap(key: bytes, wrapped: bytes) -> bytes | None:
    if len(wrapped) != 32:
        raise AgeError("its wrapped key is malformed")
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO, wrapped, None)
    except InvalidTag:
        return None


def _parse(sealed: bytes) -> tuple[bytes, list[tuple[list[str], bytes]], bytes, bytes]:
    """Header up to and with ``---``, stanzas, MAC, and what follows."""
    head, mark, rest = sealed.partition(b"\n--- ")
    if not sealed.startswith(MAGIC) or not mark:
        raise AgeError("it is not an age file")
    mac, _, body = rest.partition(b"\n")
    stanzas: list[tuple[list[str], bytes]] = []
    text = ""
    for line in head[len(MAGIC) :].split(b"\n"):
        if line.startswith(b"-> "):
            stanzas.append((line[3:].decode("ascii", "replace").split(" "), b""))
            text = ""
        elif stanzas:
            text += line.decode("ascii", "replace")
            if len(line) < 64:  # the last line of a stanza is a short one
                stanzas[-1] = (stanzas[-1][0], _unb64(text, None))
        else:
            raise AgeError("its header is malformed")
    return head + b"\n---", stanzas, _unb64(mac.decode("ascii", "replace"), 32), body


def _seal(key: bytes, text: bytes) -> bytes:
    """The STREAM construction: chunks that cannot be reordered, dropped or cut off unnoticed."""
    cipher = ChaCha20Poly1305(key)
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)] or [b""]
    return b"".join(
        cipher.encrypt(_nonce(number, number == len(chunks) - 1), chunk, None)
        for number, chunk in enumerate(chunks)
    )


def _open(key: bytes, sealed: bytes) -> bytes:
    cipher, size = ChaCha20Poly1305(key), CHUNK + 16
    chunks = [sealed[at : at + size] for at in range(0, len(sealed), size)]
    try:
        opened = [
            cipher.decrypt(_nonce(number, number == len(chunks) - 1), chunk, None)
            for number, chunk in enumerate(chunks)
        ]
    except (InvalidTag, ValueError):
        raise AgeError("its content was changed or cut off") from None
    if not opened or (len(opened) > 1 and not opened[-1]):
        raise AgeError("its content was changed or cut off")
    return b"".join(opened)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _mac(file_key: bytes, head: bytes) -> bytes:
    return hmac.digest(_hkdf(file_key, b"", b"header"), head, "sha256")


def _payload_key(file_key: bytes, nonce: bytes) -> bytes:
    return _hkdf(file_key, nonce, b"payload")


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt or None, info=info).derive(key)


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _unb64(text: str, length: int | None) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise AgeError("its header is malformed") from None
    if _b64(data).decode() != text or (length is not None and len(data) != length):
        raise AgeError("its header is malformed")
    return data


def is_recipient(text: str) -> bool:
    """Whether the text is an age recipient; plugins' and post-quantum ones are not known here."""
    try:
        _public(text)
    except AgeError:
        return False
    return True


def _public(recipient: str) -> bytes:
    return _bech32(recipient, "age")


def _bech32(text: str, kind: str) -> bytes:
    """The 32 bytes of an ``age1…`` or ``AGE-SECRET-KEY-1…`` line (BIP 173); the error never repeats it."""
    lowered = text.lower()
    if text not in (lowered, text.upper()) or not lowered.startswith(f"{kind}1"):
        raise AgeError(f"it does not begin with {kind}1 in one case")
    try:
        values = [_ALPHABET.index(c) for c in lowered[len(kind) + 1 :]]
    except ValueError:
        raise AgeError("it holds a character that no key has") from None
    expanded = [ord(c) >> 5 for c in kind] + [0] + [ord(c) & 31 for c in kind]
    if _polymod(expanded + values) != 1:
        raise AgeError("its checksum is wrong: a character was mistyped")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    if len(bits) < 256 or len(bits) > 260 or "1" in bits[256:]:
        raise AgeError("it has the wrong length")
    return int(bits[:256], 2).to_bytes(32, "big")


def _polymod(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def new_identity() -> tuple[str, str]:
    """An identity and its recipient, as `age-keygen` makes them."""
    own = X25519PrivateKey.generate()
    raw = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    secret = _to_bech32(own.private_bytes(*raw), "age-secret-key-").upper()
    return secret, _to_bech32(own.public_key().public_bytes_raw(), "age")


def _to_bech32(data: bytes, kind: str) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    values = [int(bits[at : at + 5].ljust(5, "0"), 2) for at in range(0, len(bits), 5)]
    expanded = [ord(c) >> 5 for c in kind] + [0] + [ord(c) & 31 for c in kind]
    check = _polymod(expanded + values + [0] * 6) ^ 1
    values += [check >> 5 * (5 - at) & 31 for at in range(6)]
    return f"{kind}1" + "".join(_ALPHABET[value] for value in values)
