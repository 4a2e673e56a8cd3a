"""A kit encrypted for a GPG key can be opened with gpg, by the program and by hand."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.errors import LastcopyError
from ops.kit.kit import make_kit
from ops.kit.sealed import seal, unseal
from tests.unit.ops.kit.test_kit import OUTPUTS


@pytest.fixture
def fingerprint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The fingerprint of a key made for this test. A short path, because it holds a socket of gpg's agent."""
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("GNUPGHOME", home)
        make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "kit@example.com"]
        subprocess.run([*make, "default", "default", "1d"], check=True, capture_output=True)
        listed = subprocess.run(
            ["gpg", "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
        ).stdout
        try:
            yield next(line for line in listed.splitlines() if line.startswith("fpr")).split(":")[9]
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False)


def test_a_gpg_key_opens_the_kit(fingerprint: str, tmp_path: Path) -> None:
    kit = make_kit("prod", OUTPUTS, {}, datetime(2026, 11, 24, tzinfo=UTC), key=None)
    file = tmp_path / "kit.asc"
    file.write_bytes(seal(kit.text(), recipients=[fingerprint], passphrase=None))
    assert b"BEGIN PGP MESSAGE" in file.read_bytes()
    assert unseal(file, passphrase=None, identity_file=None) == kit
    by_hand = subprocess.run(["gpg", "--quiet", "--decrypt", file], check=True, capture_output=True).stdout
    assert json.loads(by_hand)["stack"] == "prod"
    with pytest.raises(LastcopyError, match="gpg refused"):
        seal("", recipients=["0" * 40], passphrase=None)
