"""What the settings tests share: new keys, a good stack, and fragments that are merged into it."""

from __future__ import annotations

import base64
import copy
import datetime
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from components.settings import Settings, SettingsError, parse_settings

STACK_FILE = "stacks/Pulumi.prod.yaml"
REMOVED = "REMOVED"


def field(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def public_key(seed: str, kind: str = "ssh-ed25519") -> str:
    """A well-formed public key; what matters here is its form, not that someone holds the private half."""
    digest = hashlib.sha256(seed.encode()).digest()
    curve = field(b"nistp256") + field(b"\4" + digest + digest) if "ecdsa" in kind else field(digest)
    blob = field(kind.encode()) + curve
    if kind.startswith("sk-"):
        blob += field(b"ssh:")
    return f"{kind} {base64.b64encode(blob).decode()}"


@functools.cache
def private_key() -> str:
    key, plain = ed25519.Ed25519PrivateKey.generate(), serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, plain).decode()


def locked_private_key() -> str:
    """What a private key with a passphrase looks like from outside."""
    parts = [b"aes256-ctr", b"bcrypt", b"salt"]
    blob = (
        b"openssh-key-v1\0"
        + b"".join(map(field, parts))
        + (1).to_bytes(4)
        + field(b"public")
        + field(b"x" * 64)
    )
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{base64.b64encode(blob).decode()}\n-----END OPENSSH PRIVATE KEY-----\n"


@functools.cache
def certificate() -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    made = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, None)
    return made.public_bytes(serialization.Encoding.PEM).decode()


# Words that fragments write instead of keys.
KEYS = {name: public_key(name) for name in ("RELAY-KEY", "WEB-KEY", "DB-KEY", "SOURCE-KEY", "ADMIN-KEY")}
KEYS["TOTP-SECRET"] = "JBSWY3DPEHPK3PXPGEZDGNBVGY3TQOJQ"
KEYS["totp-secret"] = "jbsw y3dp ehpk 3pxp gezd gnbv gy3t qojq"
KEYS["SECURITY-KEY"] = public_key("security", "sk-ssh-ed25519@openssh.com")
KEYS["OLD-SECURITY-KEY"] = public_key("old", "sk-ecdsa-sha2-nistp256@openssh.com")
KEYS["CUT-KEY"] = KEYS["WEB-KEY"][:-4]

GOOD = """
environment: prod
admin: {user: admin, privateKeyFile: ~/.ssh/backup-admin}
intermediate: {existing: {address: relay.example.com, hostKey: RELAY-KEY}}
storage: {s3: {endpoint: https://s3.example.com, region: us-east-1, bucket: example-backups}}
sources:
  - name: web1
    host: {address: web1.example.com, hostKey: WEB-KEY}
    paths: [/srv]
    identity: {accessKeyId: EXAMPLE-WEB1, secretAccessKey: kW8-web1-secret-access-key}
  - name: db1
    host: {address: db1.example.com, hostKey: DB-KEY}
    paths: [/var/lib/postgresql]
    identity: {accessKeyId: EXAMPLE-DB1, secretAccessKey: kW8-db1-secret-access-key}
"""
SANDBOX = """
environment: local
intermediate: {sandbox: {}}
storage: {sandbox: {}}
sources: [{name: web1, sandbox: {}, paths: [/srv]}]
"""


def values(text: str) -> Any:
    """YAML as in a stack file, with its key words replaced by keys. The caller owns it and may change it."""
    return copy.deepcopy(_values_read_once(text))


@functools.cache
def _values_read_once(text: str) -> Any:
    for word, key in sorted(KEYS.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(word, key)
    return yaml.safe_load(text)


def laid_over(base: Any, patch: Any) -> Any:
    """The base with the patch's values; maps and lists are merged entry by entry, REMOVED removes a key."""
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = {key: laid_over(base.get(key), value) for key, value in patch.items() if value != REMOVED}
        return {key: value for key, value in {**base, **merged}.items() if patch.get(key) != REMOVED}
    if isinstance(base, list) and isinstance(patch, list) and patch:
        both = [laid_over(base[i] if i < len(base) else None, item) for i, item in enumerate(patch)]
        return both + base[len(patch) :]
    return copy.deepcopy(patch)


def stack(fragment: str = "{}", base: str = GOOD) -> dict[str, Any]:
    merged: dict[str, Any] = laid_over(values(base), values(fragment))
    return merged


def parse(raw: Mapping[str, object]) -> Settings:
    # Through JSON, as the engine hands it over: what is no JSON cannot come in.
    return parse_settings(json.loads(json.dumps(raw)), stack_file=STACK_FILE)


def good(fragment: str = "{}", base: str = GOOD) -> Settings:
    return parse(stack(fragment, base))


def refused(raw: Mapping[str, object]) -> SettingsError:
    try:
        settings = parse(raw)
    except SettingsError as error:
        return error
    raise AssertionError(f"accepted: {settings!r}")


def accepted(raw: Mapping[str, object]) -> Settings | None:
    try:
        return parse(raw)
    except SettingsError:
        return None


SECRET_KEYS = ("password", "secretAccessKey", "section", "privateKey", "totpSecret")


def secrets_in(raw: object, name: str = "") -> Iterator[str]:
    """Every text under a key whose value is secret."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from secrets_in(value, key)
    elif isinstance(raw, list):
        for value in raw:
            yield from secrets_in(value, name)
    elif isinstance(raw, str) and name in SECRET_KEYS:
        yield raw


def leaks(text: str, secret: str) -> bool:
    """Whether the text repeats the secret, or any line of it that is long enough to matter."""
    pieces = [
        secret,
        *(piece for piece in re.split(r"\s+", secret) if len(piece) >= 8 and not piece.startswith("-----")),
    ]
    return any(piece and piece in text for piece in pieces)
