"""The form in which a private key is kept with a connection."""

from __future__ import annotations

from components.settings.ssh_keys import read_public_half


def shorten(text: str) -> str:
    """The same key in its shortest form: an ed25519 key of OpenSSH's own form as PKCS #8, any other text as it is.

    The state keeps the connection of every step twice: 120 bytes in place of 400.
    """
    if read_public_half(text) is None:
        return text
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_ssh_private_key(text.encode(), password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
