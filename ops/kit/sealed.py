"""The kit's file: encrypted in memory, written once, readable only by its owner; opened with a passphrase, an age identity or gpg."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ops.errors import LastcopyError, escape_text
from ops.kit import age
from ops.kit.kit import Kit, parse
from ops.storage.access import read_private
from toolchain.files import create_file

RECIPIENT = "an age recipient (age1…), or the 40 hexadecimal digits of a GPG key's fingerprint"
_FINGERPRINT = re.compile(r"(?:0x)?[0-9A-Fa-f]{40}")
_PASSPHRASE_LEAST = 20
_GPG_SECONDS = 300  # a person may have to touch a hardware token


def read_passphrase(file: str) -> str:
    """The passphrase: the first line of the file or of standard input. Raises LastcopyError if it is too short."""
    lines = read_private(file, "--passphrase-file").splitlines()
    if not lines or len(lines[0]) < _PASSPHRASE_LEAST:
        raise LastcopyError(
            "the passphrase is too short",
            where="--passphrase-file",
            allowed=f"at least {_PASSPHRASE_LEAST} characters in the first line; six random words are easy to write down",
        )
    return lines[0]


def check_readers(*, recipients: Sequence[str], passphrase: str | None) -> None:
    """Refuse invalid recipients before a kit is made. A passphrase is always valid; trying it would only cost seconds."""
    if passphrase is None or recipients:
        seal("", recipients=recipients, passphrase=passphrase)


def seal(text: str, *, recipients: Sequence[str], passphrase: str | None) -> bytes:
    """Encrypt for all recipients, which must be of one kind, or with the passphrase. Raises LastcopyError."""
    if bool(recipients) == (passphrase is not None):
        raise LastcopyError(
            "say who may open the kit: recipients or a passphrase",
            where="--recipient, --passphrase-file",
            allowed=f"exactly one of them; a recipient is {RECIPIENT}",
        )
    if passphrase is not None:
        return age.encrypt(text.encode(), passphrase=passphrase)
    wrong = [one for one in recipients if not age.is_recipient(one) and not _FINGERPRINT.fullmatch(one)]
    if wrong:
        raise LastcopyError(
            f"{', '.join(escape_text(one, 70) for one in wrong)}: not a recipient, or mistyped",
            where="--recipient",
            allowed=RECIPIENT,
        )
    fingerprints = [one.removeprefix("0x") for one in recipients if not age.is_recipient(one)]
    if not fingerprints:
        return age.encrypt(text.encode(), recipients=recipients)
    if len(fingerprints) < len(recipients):
        raise LastcopyError(
            "age and GPG recipients cannot share one file", where="--recipient", fix="write two kits"
        )
    words = [word for one in fingerprints for word in ("--recipient", one)]
    return _gpg("--armor", "--trust-model", "always", *words, "--encrypt", stdin=text.encode())


def unseal(file: Path, *, passphrase: str | None, identity_file: str | None) -> Kit:
    """The kit in a file. The decrypted content is never written to disk. Raises LastcopyError."""
    try:
        sealed = file.read_bytes()
    except OSError as error:
        raise LastcopyError(f"{file} cannot be read: {error.strerror}", where="--kit") from None
    if not sealed.startswith(age.MAGIC):
        if b"PGP MESSAGE" not in sealed[:200] and not (sealed[:1] and sealed[0] & 0x80):
            raise LastcopyError(
                f"{file} is not a recovery kit", where="--kit", allowed="an age or a GPG file"
            )
        return parse(_gpg("--decrypt", stdin=sealed).decode("utf-8", "replace"), str(file))
    identities = [None]
    if identity_file is not None:
        lines = read_private(identity_file, "--identity").splitlines()
        identities = [line.strip() for line in lines if line.startswith("AGE-SECRET-KEY-1")]  # type: ignore[misc]
    why = "the identity file has no line AGE-SECRET-KEY-1…"
    for identity in identities:
        try:
            return parse(age.decrypt(sealed, passphrase=passphrase, identity=identity).decode(), str(file))
        except age.AgeError as error:
            why = str(error)
    raise LastcopyError(
        f"{file} cannot be opened: {why}",
        where="--kit",
        allowed="--passphrase-file with its passphrase, or --identity with an age identity that it was encrypted for",
    )


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a new file, completely or not at all. An existing file is never replaced. Raises LastcopyError."""
    if path.exists():
        raise LastcopyError(f"{path} exists already", where="--out, --page", fix="choose another name")
    for left in path.parent.glob(f".{path.name}.*"):  # half-written, by a run that was killed
        owner = left.suffix.removeprefix(".")
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            left.unlink(missing_ok=True)
    try:
        create_file(path, content, mode=mode)
    except OSError as error:
        raise LastcopyError(f"{path} cannot be written: {error.strerror}", where="--out, --page") from None


def _gpg(*words: str, stdin: bytes) -> bytes:
    program = shutil.which("gpg")
    if program is None:
        raise LastcopyError("this needs the program gpg", fix="apt install gnupg, or use age")
    done = subprocess.run(
        [program, "--quiet", "--batch", "--yes", *words],
        input=stdin,
        capture_output=True,
        timeout=_GPG_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = escape_text(done.stderr.decode("utf-8", "replace").strip(), 300)
        raise LastcopyError(f"gpg refused: {said}", fix="check `gpg --list-keys` and import the missing key")
    return done.stdout
