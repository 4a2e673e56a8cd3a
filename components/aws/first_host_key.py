"""The first host key of a machine in a cloud, made from a seed. Pure, no engine; imports `cryptography` only when needed."""

from __future__ import annotations

from dataclasses import dataclass

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve P-256
_MINIMUM = 32


@dataclass(frozen=True, kw_only=True)
class FirstKey:
    """An ECDSA P-256 host key: the private half as PEM, the public half as `ecdsa-sha2-nistp256 AAAA…`."""

    private: str
    public: str


def first_key(seed: str) -> FirstKey:
    """The same key for the same seed, byte for byte; otherwise every run would change the user data.

    It is an ECDSA key because the machine's lasting key is ed25519, and sshd can offer one key of each type at once. So there is no moment at which
    neither the old pin nor the new one works, and the handover may be interrupted anywhere (components/aws/host_key.sh).
    It is in PEM (SEC 1) because OpenSSH's own private format contains random bytes.
    """
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(seed) < _MINIMUM:
        raise ValueError(f"the seed of a host key has {_MINIMUM} or more characters")
    # 48 bytes for a number below 2**256: the bias of the remainder is less than 2**-128.
    stretched = HKDF(algorithm=hashes.SHA256(), length=48, salt=None, info=b"lastcopy first host key").derive(
        seed.encode()
    )
    scalar = int.from_bytes(stretched, "big") % (_ORDER - 1) + 1
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return FirstKey(private=private.decode(), public=public.decode())
