"""Which storage identities the sandbox accepts; their rights are in components/vault/identities/identity_policy.py. Pure."""

from __future__ import annotations

import re

from sandbox.errors import SandboxError

PREFIX = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,62}/){1,4}")
ACCESS_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,19}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
SECRET_LENGTH = range(8, 41)  # minio's limits


def check_identity(prefix: str, access_key: str, secret_key: str, others: dict[str, str]) -> None:
    """Refuse an invalid identity, with every problem in one error. `others`: the other sources' prefixes."""
    wrong = []
    if not PREFIX.fullmatch(prefix):
        wrong.append(
            f"--prefix {prefix!r}: use 1 to 4 names of letters, digits, '.', '_', '-', each ended by '/'"
        )
    if not ACCESS_KEY.fullmatch(access_key):
        wrong.append(f"--access-key {access_key!r}: use 3 to 20 letters, digits, '.', '_', '-'")
    if len(secret_key) not in SECRET_LENGTH or not secret_key.isprintable() or " " in secret_key:
        low, high = SECRET_LENGTH.start, SECRET_LENGTH.stop - 1
        wrong.append(f"secret key on stdin: use {low} to {high} printable characters without spaces")
    for source, taken in sorted(others.items()):
        if prefix.startswith(taken) or taken.startswith(prefix):
            wrong.append(f"--prefix {prefix!r}: overlaps {taken!r} of {source}")
    if wrong:
        raise SandboxError("identity refused:\n    " + "\n    ".join(wrong), where="identity-up")
