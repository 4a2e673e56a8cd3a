"""A FIDO2 security key in software that attests whatever it is told to: shows what sshd accepts and refuses, for row A6.

It is a double. It shows that sshd accepts a signature only if the key attests a touch and a PIN; that a real device attests these only if they
happened is up to the device. The private key is only in this process's memory. Formats: OpenSSH's PROTOCOL.u2f and the SSH agent protocol.
"""

from __future__ import annotations

import base64
import hashlib
import socketserver
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.socket_server import serve_on_socket

KIND, APPLICATION = b"sk-ssh-ed25519@openssh.com", b"ssh:"
_FAILURE, _LIST, _LISTED, _SIGN, _SIGNED = 5, 11, 12, 13, 14


class Attestation(IntFlag):
    """What a device attests with a signature."""

    NOTHING = 0
    TOUCHED = 1
    VERIFIED = 4  # its PIN was given
    BOTH = TOUCHED | VERIFIED


class SecurityKey:
    """One device.

    ``signatures`` is how many it made, which is part of each signature; ``last`` is the latest one.
    """

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.signatures = 0
        self.last = b""

    @property
    def blob(self) -> bytes:
        return _string(KIND) + _string(self._private.public_key().public_bytes_raw()) + _string(APPLICATION)

    @property
    def public(self) -> str:
        """The public key in the form of a stack file."""
        return f"{KIND.decode()} {base64.b64encode(self.blob).decode()}"

    def sign(self, message: bytes, says: Attestation, claimed: Attestation | None = None) -> bytes:
        """Sign a message.

        Args:
            message: What ssh asks to have signed.
            says: What the device attests.
            claimed: What an attacker writes into the finished signature in its place.
        """
        self.signatures += 1
        counter = struct.pack(">I", self.signatures)
        signed = (
            hashlib.sha256(APPLICATION).digest() + bytes([says]) + counter + hashlib.sha256(message).digest()
        )
        self.last = (
            _string(KIND)
            + _string(self._private.sign(signed))
            + bytes([says if claimed is None else claimed])
            + counter
        )
        return self.last

    @contextmanager
    def plugged_in(
        self, socket: Path, says: Attestation, *, claimed: Attestation | None = None, replayed: bytes = b""
    ) -> Iterator[tuple[str, ...]]:
        """Run an SSH agent that holds only this key. Yields the options that make ssh use it.

        Args:
            socket: Where the agent listens.
            says: What the device attests.
            claimed: What an attacker writes into finished signatures.
            replayed: A signature that is returned instead of a new one.
        """
        shown = socket.with_suffix(".pub")
        shown.write_text(f"{self.public}\n")

        class Agent(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while len(head := self.rfile.read(4)) == 4:
                    answer = reply(self.rfile.read(struct.unpack(">I", head)[0]))
                    self.wfile.write(_string(answer))

        def reply(asked: bytes) -> bytes:
            if asked[:1] == bytes([_LIST]):
                return bytes([_LISTED]) + struct.pack(">I", 1) + _string(self.blob) + _string(b"")
            if asked[:1] == bytes([_SIGN]):
                blob, rest = _taken(asked[1:])
                if blob == self.blob:
                    return bytes([_SIGNED]) + _string(replayed or self.sign(_taken(rest)[0], says, claimed))
            return bytes([_FAILURE])

        with serve_on_socket(socket, Agent):
            yield ("-o", f"IdentityAgent={socket}", "-o", f"IdentityFile={shown}")


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _taken(data: bytes) -> tuple[bytes, bytes]:
    """The first string in ``data``, and the rest."""
    end = 4 + struct.unpack(">I", data[:4])[0]
    return data[4:end], data[end:]
