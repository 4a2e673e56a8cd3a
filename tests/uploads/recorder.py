"""A TLS server that accepts S3 uploads and records how each request was sent. It stores and checks nothing."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

NOTHING = b'<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>'
BEGUN = b'<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>'
ETAG = f'"{"ab" * 16}"'  # looks like an MD5 sum but is not, like ETags under SSE-KMS
COMPLETE = f'<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>{ETAG}</ETag></CompleteMultipartUploadResult>'.encode()
WRITES = ("PUT", "POST")


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it was sent: header names in lower case, the body with its framing."""

    method: str
    path: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def step(self) -> str:
        """The request's name in S3's own terms."""
        if self.method == "POST":
            return "CreateMultipartUpload" if "uploads" in self.query else "CompleteMultipartUpload"
        return (
            "UploadPart" if "partNumber" in self.query else {"PUT": "PutObject"}.get(self.method, self.method)
        )


@dataclass
class Recorder:
    """``requests``: everything that arrived, in the order of arrival."""

    folder: Path
    port: int = 0
    requests: list[RecordedRequest] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def writes(self) -> list[RecordedRequest]:
        return [one for one in self.requests if one.method in WRITES]

    def take(self, request: RecordedRequest) -> None:
        with self.lock:
            self.requests.append(request)
            length = request.headers.get("x-amz-decoded-content-length", str(len(request.body)))
            if request.step in ("PutObject", "UploadPart"):
                known = self.sizes.get(request.key, 0) if request.step == "UploadPart" else 0
                self.sizes[request.key] = known + int(length)


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def serve(self) -> None:
            path = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(path.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            key = path.path.strip("/").partition("/")[2]
            request = RecordedRequest(self.command, path.path, key, query, headers, self.body())
            recorder.take(request)
            if request.method == "GET" and "prefix" in query:
                self.answer(200, NOTHING)
            elif request.method == "HEAD" and key in recorder.sizes:
                self.answer(200, length=recorder.sizes[key])
            elif request.method in ("HEAD", "GET"):
                self.answer(404)
            elif request.step == "CreateMultipartUpload":
                self.answer(200, BEGUN)
            elif request.step == "CompleteMultipartUpload":
                self.answer(200, COMPLETE)
            else:
                self.answer(200)

        def answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("ETag", ETAG)
            self.send_header("Last-Modified", "Fri, 27 Nov 2026 12:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

        def log_message(self, format: str, *args: object) -> None:
            """Does nothing: every request is in ``recorder.requests``."""

    return Handler


@contextmanager
def recording(certificates: Path) -> Iterator[Recorder]:
    """The server on loopback, with ``public.crt`` and ``private.key`` of that folder."""
    recorder = Recorder(certificates)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(recorder))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "public.crt", certificates / "private.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    recorder.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
