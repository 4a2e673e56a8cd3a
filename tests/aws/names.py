"""A name server for the sandbox's machines: S3's names lead to the sandbox's storage, and no other name exists."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

A, ANY_CLASS = 1, 1
HEADER = struct.Struct(">HHHHHH")


class NameServer:
    """Answers in a thread of this process; its socket belongs to the network in which it was created."""

    def __init__(self, listen: str, domain: str, address: str) -> None:
        self._domain, self._address = domain, socket.inet_aton(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((listen, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Free the network: an open socket would keep its namespace."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, then says that there was no peer
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, sender = self._socket.recvfrom(1024)
                if not question:  # shut down
                    return
                self._socket.sendto(self._answer(question), sender)
            except OSError:
                return

    def _answer(self, question: bytes) -> bytes:
        number, _, _, _, _, _ = HEADER.unpack_from(question)
        at, labels = HEADER.size, []
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += length + 1
        asked = question[HEADER.size : at + 5]
        (kind,) = struct.unpack_from(">H", question, at + 1)
        name = ".".join(labels).lower()
        known = name == self._domain or name.endswith(f".{self._domain}")
        record = b"\xc0\x0c" + struct.pack(">HHIH", A, ANY_CLASS, 5, 4) + self._address
        records = [record] if known and kind == A else []
        flags = 0x8580 | (0 if known else 3)  # answer, authoritative; no such name
        return HEADER.pack(number, flags, 1, len(records), 0, 0) + asked + b"".join(records)
