"""Verifies an OpenPGP signature with gpg, against a pinned fingerprint, in a keyring of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import Closed, ToolError, refused
from .pins import Release

BEGIN, END = b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----END PGP SIGNATURE-----"
VERDICTS = ("BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NO_PUBKEY", "NODATA")


def need_gpg(tool: str) -> None:
    """Raise an error that names the package if gpg is missing."""
    if shutil.which("gpg") is None:
        raise ToolError(
            f"{tool}: gpg is missing, so the release's signature cannot be checked",
            fix="apt-get install gnupg (macOS: brew install gnupg), then run it again",
        )


def signed_text(
    tool: str, release: Release, sums: bytes, scratch: Path, fetch: Callable[[str], bytes]
) -> bytes:
    """Return exactly the checksums that the pinned key signed. Raises ToolError if it did not sign them."""
    signed = scratch / "SUMS"
    signed.write_bytes(sums)
    text = scratch / "SUMS.text"
    if release.signature == "inline":
        if sums.count(BEGIN) != 1 or not sums.startswith(BEGIN) or not sums.rstrip().endswith(END):
            raise refused(tool, release.version, "the checksums are not one signed message")
        command = ["--output", str(text), "--decrypt", str(signed)]
    else:
        (scratch / "SUMS.sig").write_bytes(fetch(release.signature))
        command = ["--verify", str(scratch / "SUMS.sig"), str(signed)]
        text = signed
    # a short path, because gpg's sockets fail in a long one
    with tempfile.TemporaryDirectory(prefix="lc-gpg-") as home:
        (scratch / "key").write_bytes(_first(release.keys, fetch))
        _gpg(home, ["--import", str(scratch / "key")])
        status = _gpg(home, command)
    signers = [line.split()[-1] for line in status if line.startswith("VALIDSIG ")]
    good = any(line.startswith("GOODSIG ") for line in status)
    if signers != [release.fingerprint] or not good:
        said = next((line for line in status if line.startswith(VERDICTS)), "no signature was found")
        said = f"signed by {', '.join(signers)}" if signers else said
        expected = f"only the key {release.fingerprint} counts (toolchain/versions.toml)"
        raise refused(
            tool, release.version, f"the signature of {release.sums} is refused: {said}; {expected}"
        )
    return text.read_bytes()


def _gpg(home: str, arguments: list[str]) -> list[str]:
    base = ["gpg", "--homedir", home, "--batch", "--no-tty", "--no-options", "--no-auto-key-retrieve"]
    done = subprocess.run([*base, "--status-fd", "1", *arguments], capture_output=True, check=False)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return [line.removeprefix("[GNUPG:] ") for line in lines if line.startswith("[GNUPG:] ")]


def _first(urls: tuple[str, ...], fetch: Callable[[str], bytes]) -> bytes:
    reasons = []
    for url in urls:
        try:
            return fetch(url)
        except Closed as reason:
            reasons.append(str(reason))
    raise Closed("the signing key could not be fetched: " + "; ".join(reasons))
