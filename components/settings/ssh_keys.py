"""Rules for SSH keys: a complete public key of the right kind. A private key in its place is never repeated."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, SecretStr, StrictStr

from components.settings.form import Looks
from components.settings.problems import Fix, refuse

ED25519 = "ssh-ed25519"
SECURITY_KEY = "sk-ssh-ed25519@openssh.com"
OLD_SECURITY_KEY = "sk-ecdsa-sha2-nistp256@openssh.com"  # for tokens without ed25519
SECURITY_KEYS = (SECURITY_KEY, OLD_SECURITY_KEY)
COMPROMISED = "remove it, and make a new key pair if this file was ever shared or committed"
PUBLIC_KEY_EXAMPLE = "ssh-ed25519 AAAA…"
PRIVATE_KEY_ALLOWED = "an unencrypted private key in PEM form; agent: true serves one with a passphrase"
HOW_TO_PIN = (
    "print the key with `ssh-keyscan -t ed25519 HOST`, compare it on the host's own console with\n"
    "`cat /etc/ssh/ssh_host_ed25519_key.pub`, then, without the host's name:"
)
HOW_TO_MAKE_A_KEY = (
    "on the source: `ssh-keygen -t ed25519 -N '' -f KEYFILE`, then the one line of KEYFILE.pub:"
)
HOW_TO_MAKE_A_SECURITY_KEY = (
    "`ssh-keygen -t ed25519-sk -O verify-required`, then the one line of the .pub file:"
)


def _fields(blob: bytes) -> list[bytes] | None:
    """The length-prefixed fields of an SSH wire-format key, or None if the lengths do not match."""
    fields, rest = [], blob
    while rest:
        size = int.from_bytes(rest[:4])
        if len(rest) < 4 + size:
            return None
        fields.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return fields


def _is_key(kind: str, text: str) -> bool:
    """Whether the base64 text is a complete key of this kind: the right name, and nothing missing or left over."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    fields = _fields(blob)
    if fields is None or base64.b64encode(blob).decode() != text:
        return False
    sizes = [len(field) for field in fields[1:]]
    if kind == OLD_SECURITY_KEY:
        return fields[:2] == [kind.encode(), b"nistp256"] and sizes[:2] == [8, 65] and len(sizes) == 3
    return fields[:1] == [kind.encode()] and sizes[:1] == [32] and len(sizes) == (1 if kind == ED25519 else 2)


def read_key_data(public_key: str) -> str:
    """The base64 part of a valid public key, which is the same for a key whatever its comment."""
    return public_key.split()[1]


def _public_key(value: str, kinds: tuple[str, ...], allowed: str) -> tuple[str, str, str]:
    if "PRIVATE KEY" in value:
        raise refuse(
            "is a private key", allowed=allowed, fix=Fix(say=f"{COMPROMISED}; then the .pub file's line:")
        )
    if "…" in value:
        raise refuse("is still the template's placeholder", allowed=allowed)
    if len(value.splitlines()) != 1:
        raise refuse("is not exactly one line", allowed=allowed)
    words = value.strip(" ").split(" ", maxsplit=2)
    if words[0] not in kinds:
        before = any(word in kinds for word in value.split())
        what = (
            "has words before the key, such as a host name or options"
            if before
            else "is not of an allowed kind"
        )
        raise refuse(what, allowed=allowed)
    if len(words) < 2 or not _is_key(words[0], words[1]):
        raise refuse("is cut off or mistyped: its base64 part is not a whole key", allowed=allowed)
    return words[0], words[1], words[2] if len(words) > 2 else ""


def _ed25519(value: str) -> str:
    kind, blob, _ = _public_key(value, (ED25519,), f"one line: {ED25519} AAAA…, a public key")
    return f"{kind} {blob}"


def _admin_key(value: str) -> str:
    kinds = (ED25519, *SECURITY_KEYS)
    allowed = f"one line: {' or '.join(kinds)}, AAAA… and a comment of one plain word"
    kind, blob, comment = _public_key(value, kinds, allowed)
    if comment and not re.fullmatch(r"[A-Za-z0-9@._+-]{1,64}", comment, re.ASCII):
        raise refuse("has a comment that is not one plain word", allowed=allowed)
    return f"{kind} {blob} {comment}".rstrip()


def find_private_key_problems(text: str) -> Iterator[str]:
    """What is wrong with a private key, without repeating anything of it."""
    body = re.fullmatch(
        r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----\n(.+?)-----END \1PRIVATE KEY-----\s*", text, re.DOTALL
    )
    if body is None:
        public = text.startswith(("ssh-", "sk-", "ecdsa-"))
        yield "is a public key" if public else "is not a private key in PEM form"
        return
    encrypted = "ENCRYPTED" in body[1] + body[2]
    if body[1] == "OPENSSH ":
        cipher = _openssh_cipher(body[2])
        if cipher is None:
            yield "is cut off or mistyped: it is not a whole OpenSSH private key"
            return
        encrypted = cipher != b"none"
    if encrypted:
        yield "is protected by a passphrase, which nobody can type while the program runs"


def read_public_half(text: str) -> str | None:
    """The base64 part of the public key in an OpenSSH private key of kind ed25519, or None for any other text."""
    body = re.search(r"-----BEGIN OPENSSH PRIVATE KEY-----\n(.+?)-----END", text, re.DOTALL)
    opened = _opened(body[1]) if body else None
    blob = base64.b64encode(opened[1]).decode() if opened else ""
    return blob if _is_key(ED25519, blob) else None


def _openssh_cipher(text: str) -> bytes | None:
    """The cipher of an OpenSSH private key, or None if it is not a complete one."""
    opened = _opened(text)
    return None if opened is None else opened[0]


def _opened(text: str) -> tuple[bytes, bytes] | None:
    """Cipher and public key of an OpenSSH private key, or None if it is not a complete one (PROTOCOL.key in OpenSSH's source)."""
    try:
        blob = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    magic, rest = blob[:15], blob[15:]
    head = []
    for _ in range(3):  # cipher, key derivation, its options
        size = int.from_bytes(rest[:4])
        head.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    fields = _fields(rest[4:])  # after the number of keys: the public and the private key
    whole = magic == b"openssh-key-v1\0" and fields is not None and len(fields) == 2
    return (head[0], fields[0]) if whole and fields else None


def _private_key(value: SecretStr) -> SecretStr:
    for what in find_private_key_problems(value.get_secret_value()):
        raise refuse(what, allowed=PRIVATE_KEY_ALLOWED)
    return value


PublicKey = Annotated[StrictStr, AfterValidator(_ed25519), Looks(rf"^\s*{ED25519} ")]
AdminKey = Annotated[
    StrictStr,
    AfterValidator(_admin_key),
    Looks(rf"^({'|'.join((ED25519, *SECURITY_KEYS))}) ".replace(".", r"\.")),
]
PrivateKey = Annotated[SecretStr, AfterValidator(_private_key)]
