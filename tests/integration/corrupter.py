"""Two connections that flip one bit or break: of HTTP requests to the storage, and of SSH."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOP = {"connection", "expect", "transfer-encoding"}
CHUNKED = "aws-chunked"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@dataclass
class Seen:
    """One request and the storage's answer; ``flipped`` if one of their bodies was changed on the way."""

    method: str
    path: str
    headers: dict[str, str]
    status: int
    flipped: bool
    answer: bytes


class Point(Enum):
    """Where an upload is cut off; at all points except the last the storage has not received it completely."""

    BEFORE_THE_BODY = "before the body"
    WITHIN_THE_BODY = "within the body"
    AFTER_THE_BODY = "after the body"
    BEFORE_THE_ANSWER = "before the answer: the storage took it"


@dataclass
class Wire:
    """A TLS proxy with bad memory. ``flip`` is the direction and path part of the next body to corrupt, once.

    ``cuts_at``: part of a path -> where the next upload of such a path is cut off, once; ``were_cut``: the paths of those uploads.
    """

    certificates: Path
    storage_port: int
    port: int = 0
    flip: tuple[str, str] | None = None
    cuts_at: dict[str, Point] = field(default_factory=dict)
    were_cut: list[str] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spoils(self, method: str, path: str, body: bytes) -> bool:
        """Whether to corrupt this body: only large ones, so that it is file content and not a listing."""
        with self.lock:
            if self.flip is None or self.flip[0] != method or self.flip[1] not in path or len(body) < 4096:
                return False
            self.flip = None
            return True

    def cuts(self, method: str, path: str) -> Point | None:
        """Where this request is cut off."""
        with self.lock:
            part = next((one for one in self.cuts_at if method == "PUT" and one in path), None)
            if part is None:
                return None
            self.were_cut.append(path.partition("?")[0])
            return self.cuts_at.pop(part)

    def spoiled(self) -> Seen:
        (one,) = [seen for seen in self.seen if seen.flipped]
        return one


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    trust = ssl.create_default_context(cafile=str(wire.certificates / "ca.crt"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            cut = wire.cuts(self.command, self.path)
            if cut is Point.BEFORE_THE_BODY:
                self.hang_up()
                return
            body = self.rfile.read(length // 2 if cut is Point.WITHIN_THE_BODY else length)
            if cut in (Point.WITHIN_THE_BODY, Point.AFTER_THE_BODY):
                self.hang_up()
                return
            spoil = wire.spoils(self.command, self.path, body)
            if spoil:
                # Inside the first chunk, if there are chunks, so that the framing stays intact.
                start = body.index(b"\r\n") + 2 if CHUNKED in self.headers.get("Content-Encoding", "") else 0
                body = flipped(body, start + 1000)
            upstream = http.client.HTTPSConnection("127.0.0.1", wire.storage_port, context=trust, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP:
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            response = upstream.getresponse()
            answer = response.read()
            if response.status in (200, 206) and wire.spoils(f"answer to {self.command}", self.path, answer):
                spoil, answer = True, flipped(answer, 1000)
            upstream.close()
            if cut is Point.BEFORE_THE_ANSWER:
                assert response.status == 200, answer
                self.hang_up()
                return
            with wire.lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                wire.seen.append(Seen(self.command, self.path, headers, response.status, spoil, answer))
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP | {"content-length"}:
                    self.send_header(name, value)
            told = response.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(answer))
            self.send_header("Content-Length", told)
            self.end_headers()
            self.wfile.write(answer)

        def hang_up(self) -> None:
            """Close like a proxy that lost the connection: without TLS's goodbye."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(self.connection.detach())

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: requests are in ``wire.seen``."""

    return Handler


@contextmanager
def wire_to_storage(certificates: Path, storage_port: int) -> Iterator[Wire]:
    """A TLS server on loopback that forwards every request unchanged, except for the requested flips."""
    wire = Wire(certificates, storage_port)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(wire))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "public.crt", certificates / "private.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    wire.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass
class Tap:
    """A TCP proxy; ``flip_at`` counts bytes from the connecting side, None forwards everything unchanged."""

    port: int
    flip_at: int | None
    passed: int = 0


def _pump(origin: socket.socket, target: socket.socket, tap: Tap | None) -> None:
    try:
        while data := origin.recv(65536):
            if tap is not None:
                if tap.flip_at is not None and tap.passed <= tap.flip_at < tap.passed + len(data):
                    data = flipped(data, tap.flip_at - tap.passed)
                tap.passed += len(data)
            target.sendall(data)
    except OSError:
        pass  # the other side hung up, which the test intends
    finally:
        for end in (origin, target):
            with suppress(OSError):  # closed already
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tap_to(address: str, port: int, flip_at: int | None) -> Iterator[Tap]:
    """One TCP connection to ``address`` through a port on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    tap = Tap(listener.getsockname()[1], flip_at)

    def serve() -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return  # nobody connected
        far = socket.create_connection((address, port), timeout=20)
        far.settimeout(None)
        back = threading.Thread(target=_pump, args=(far, near, None), daemon=True)
        back.start()
        _pump(near, far, tap)
        back.join(10)
        near.close()
        far.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield tap
    finally:
        listener.close()
        thread.join(10)
