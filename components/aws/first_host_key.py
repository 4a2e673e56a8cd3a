"""The host key that a machine in a cloud is born with, made from a seed. Pure, no engine; `cryptography` is imported when asked for."""

from __future__ import annotations

from dataclasses import dataclass

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve P-256
_MINIMUM = 32


@dataclass(frozen=True, kw_only=True)
class FirstKey:
    """An ECDSA P-256 host key: the private half as PEM, the public one as `ecdsa-sha2-nistp256 AAAA…`."""

    private: str
    public: str


def first_key(seed: str) -> FirstKey:
    """The same key for the same seed, byte for byte, or every run would want other user data.

    ECDSA on purpose: the machine's lasting key is ed25519, and sshd can offer one key of each kind at once. So there is no moment at which
    neither the old pin nor the new one gets in, and the handover may be cut off anywhere (components/aws/host_key.sh).
    PEM (SEC 1) on purpose: OpenSSH's own private format holds random bytes.
    """
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(seed) < _MINIMUM:
        raise ValueError(f"the seed of a host key has {_MINIMUM} or more characters")
    # 48 bytes for a number below 2**256: what the remainder favours is less than 2**-128.
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
