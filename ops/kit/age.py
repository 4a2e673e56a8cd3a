"""Files that the age program opens, and opens files that it wrote: for one passphrase, or for X25519 recipients.

All cryptography is pyrage's (the Rust implementation of age); here are only the errors, which repeat nothing of a secret.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pyrage
from pyrage import passphrase as by_passphrase
from pyrage import x25519

from ops.errors import LastcopyError

MAGIC = b"age-encryption.org/v1\n"
TRIES, PAUSE_SECONDS = 5, 2.0


class AgeError(LastcopyError):
    """The file is not ours to open, is damaged, or what was given does not open it."""


def encrypt(text: bytes, *, passphrase: str | None = None, recipients: Sequence[str] = ()) -> bytes:
    """To one passphrase, or to any of the recipients (``age1…``)."""
    if (passphrase is None) == (not recipients):
        raise AgeError("a passphrase or recipients, not both")
    if passphrase is not None:
        sealed: bytes = by_passphrase.encrypt(text, passphrase)
    else:
        sealed = pyrage.encrypt(text, [x25519.Recipient.from_str(one) for one in recipients])
    return sealed


def decrypt(sealed: bytes, *, passphrase: str | None = None, identity: str | None = None) -> bytes:
    """With the passphrase, or with an identity (``AGE-SECRET-KEY-1…``)."""
    try:
        if passphrase is not None:
            text = _with_passphrase(sealed, passphrase)
        elif identity is not None:
            text = pyrage.decrypt(sealed, [x25519.Identity.from_str(identity)])
        else:
            raise AgeError("neither passphrase nor identity was given")
    except pyrage.IdentityError:
        raise AgeError("that is no age identity") from None
    except pyrage.DecryptError as error:
        raise AgeError(f"what was given does not open it, or it is damaged ({error})") from None
    return text


def _with_passphrase(sealed: bytes, passphrase: str) -> bytes:
    """The library measures this machine and refuses a passphrase's file that would take it too long. A busy machine measures too slow: asked again."""
    for left in reversed(range(TRIES)):
        try:
            text: bytes = by_passphrase.decrypt(sealed, passphrase)
            return text
        except pyrage.DecryptError as error:
            if "Excessive work" not in str(error):
                raise
        if left:
            time.sleep(PAUSE_SECONDS)
    raise AgeError(
        "this machine is too slow or too busy for a passphrase: end other work and try again, or open it with the program age"
    )


def is_recipient(word: str) -> bool:
    """Whether this is a whole recipient; its checksum tells a mistyped one."""
    try:
        x25519.Recipient.from_str(word)
    except pyrage.RecipientError:
        return False
    return True


def new_identity() -> tuple[str, str]:
    """A new identity and its recipient."""
    identity = x25519.Identity.generate()
    return str(identity), str(identity.to_public())
