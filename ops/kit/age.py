"""Files in the format of the age program: encrypted with one passphrase, or for X25519 recipients.

All cryptography is done by pyrage, which uses the Rust implementation of age. This module only translates errors, which never contain a secret.
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
    """The file is damaged, or the given passphrase or identity does not open it."""


def encrypt(text: bytes, *, passphrase: str | None = None, recipients: Sequence[str] = ()) -> bytes:
    """Encrypt with a passphrase, or for recipients (``age1…``). Raises AgeError unless exactly one is given."""
    if (passphrase is None) == (not recipients):
        raise AgeError("give either a passphrase or recipients")
    if passphrase is not None:
        sealed: bytes = by_passphrase.encrypt(text, passphrase)
    else:
        sealed = pyrage.encrypt(text, [x25519.Recipient.from_str(one) for one in recipients])
    return sealed


def decrypt(sealed: bytes, *, passphrase: str | None = None, identity: str | None = None) -> bytes:
    """Decrypt with the passphrase or an identity (``AGE-SECRET-KEY-1…``). Raises AgeError."""
    try:
        if passphrase is not None:
            text = _with_passphrase(sealed, passphrase)
        elif identity is not None:
            text = pyrage.decrypt(sealed, [x25519.Identity.from_str(identity)])
        else:
            raise AgeError("give a passphrase or an identity")
    except pyrage.IdentityError:
        raise AgeError("that is not an age identity") from None
    except pyrage.DecryptError as error:
        raise AgeError(f"the passphrase or identity does not open it, or it is damaged ({error})") from None
    return text


def _with_passphrase(sealed: bytes, passphrase: str) -> bytes:
    """Decrypt with retries: the library refuses a file that would take this machine too long, and measures too low a speed on a busy machine."""
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
        "this machine is too slow or too busy to open a kit with a passphrase: end other work and try again, or use the program age"
    )


def is_recipient(word: str) -> bool:
    """Whether the text is a valid recipient; its checksum detects typing errors."""
    try:
        x25519.Recipient.from_str(word)
    except pyrage.RecipientError:
        return False
    return True
