"""A key in its shortest form is the same key."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

from components.host.private_key import shorten
from tests.unit.settings.support import private_key


def public_half(pem: str) -> bytes:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def test_the_short_form_is_the_same_key_and_a_third_as_long() -> None:
    long = private_key()
    short = shorten(long)
    theirs = serialization.load_ssh_private_key(long.encode(), password=None).public_key()
    assert public_half(short) == theirs.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert len(short) < 125 < len(long) / 3
    assert shorten(short) == short


@pytest.mark.parametrize(
    "kind", [("-t", "ecdsa"), ("-t", "rsa", "-b", "2048"), ("-t", "rsa", "-b", "2048", "-m", "PEM")]
)
def test_other_kinds_of_keys_are_unchanged(
    tmp_path_factory: pytest.TempPathFactory, kind: tuple[str, ...]
) -> None:
    file = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", *kind, "-N", "", "-f", file], check=True)
    assert shorten(file.read_text()) == file.read_text()
