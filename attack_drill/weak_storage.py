"""The stack's own storage behind a proxy, on the relay's loopback interface, that breaks one guarantee at a time. For row A10 and its tests.

Requests are forwarded as they came, signed by the relay for the proxy's own name, so the storage sees nothing wrong. The weakness is in the answers.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True, kw_only=True)
class S3Request:
    """A request to the storage.

    Args:
        method: The HTTP method.
        key: The object's name; "" for the bucket itself.
        query: The query parameters.
        headers: The headers, names in lower case.
    """

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def lists(self) -> bool:
        return not self.key and "prefix" in self.query


@dataclass(frozen=True, kw_only=True)
class S3Reply:
    """The storage's answer; the headers' names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def without(self, *headers: str) -> S3Reply:
        return replace(
            self, headers={name: text for name, text in self.headers.items() if name not in headers}
        )


def error(status: int, code: str, message: str = "said by a weak storage") -> S3Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return S3Reply(status=status, headers={"content-type": "application/xml"}, body=body.encode())


@dataclass(frozen=True, kw_only=True)
class Weakness:
    """One guarantee that the storage does not give.

    Args:
        name: What such a storage does.
        row: The row of the threat model that is lost.
        told: Part of the storage step's message about it.
        refused: Whether the step refuses the storage, unless the stack accepts the loss.
        instead: Returns an answer in place of the storage's; None forwards the request.
        then: Changes the storage's answer.
    """

    name: str
    row: str
    told: str
    refused: bool = False
    instead: Callable[[S3Request], S3Reply | None] = lambda _: None
    then: Callable[[S3Request, S3Reply], S3Reply] = lambda _, reply: reply


def _second_write(_: S3Request, reply: S3Reply) -> S3Reply:
    return S3Reply(status=200, headers={"etag": '"weak"'}) if reply.status == 412 else reply


def _no_versions(_: S3Request, reply: S3Reply) -> S3Reply:
    return reply.without("x-amz-version-id")


def _removed_for_good(asked: S3Request) -> S3Reply | None:
    return error(404, "NoSuchVersion") if asked.method == "GET" and "versionId" in asked.query else None


def _no_lock(asked: S3Request, reply: S3Reply) -> S3Reply:
    if "retention" in asked.query and asked.method == "GET":
        return error(404, "NoSuchObjectLockConfiguration")
    return reply.without("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date")


def _spoiled(asked: S3Request, reply: S3Reply) -> S3Reply:
    return S3Reply(status=200) if asked.key.endswith(".spoiled") and asked.method == "PUT" else reply


def _another_checksum(asked: S3Request) -> S3Reply | None:
    """Refuses every upload: without a checksum as AWS and Backblaze B2 do, with one in a trailer as Ceph does."""
    if asked.method != "PUT" or not asked.key:
        return None
    if "x-amz-trailer" in asked.headers:
        return error(400, "XAmzContentSHA256Mismatch")
    words = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
    return error(400, "InvalidRequest", words)


def _forbidden_is_missing(asked: S3Request, reply: S3Reply) -> S3Reply:
    if asked.key and asked.method in ("GET", "HEAD") and reply.status == 404:
        return error(403, "AccessDenied")
    return reply


def _allows(
    matches: Callable[[S3Request], bool], granted: S3Reply
) -> Callable[[S3Request, S3Reply], S3Reply]:
    """Answers as if a call that the storage refused were allowed; the storage itself is not touched."""
    return lambda asked, reply: granted if reply.status == 403 and matches(asked) else reply


def has_lifecycle(rule: str, prefix: str = "") -> Callable[[S3Request], S3Reply | None]:
    """Answers as a bucket with this rule for the objects below the prefix."""
    whole = f"<ID>tidy</ID><Status>Enabled</Status><Filter><Prefix>{prefix}</Prefix></Filter>{rule}"
    body = f"<LifecycleConfiguration><Rule>{whole}</Rule></LifecycleConfiguration>"
    return lambda asked: (
        S3Reply(status=200, body=body.encode())
        if asked.method == "GET" and "lifecycle" in asked.query
        else None
    )


_LIST = b"<ListBucketResult></ListBucketResult>"
_STARTED = b"<InitiateMultipartUploadResult><UploadId>weak</UploadId></InitiateMultipartUploadResult>"
_SETTINGS = ("lifecycle", "versioning", "object-lock", "policy")

WEAKNESSES: Sequence[Weakness] = (
    Weakness(name="takes a second write of a name", row="S5", refused=True, told="takes a second write of a name", then=_second_write),
    Weakness(name="gives no versions", row="R3", refused=True, told="gets no version of its own", then=_no_versions),
    Weakness(name="keeps nothing below a removal", row="R3", refused=True, told="the version below a removed object is gone", instead=_removed_for_good),
    Weakness(name="locks nothing", row="R2", refused=True, told="yet what is written is not locked", then=_no_lock),
    Weakness(name="stores what does not fit its checksum", row="A10", told="an upload whose checksum is wrong is stored", then=_spoiled),
    Weakness(name="demands another checksum", row="A10", refused=True, told="checksum", instead=_another_checksum),
    Weakness(name="reports a missing object as forbidden", row="A10", refused=True, told="for an object that is not there", then=_forbidden_is_missing),
    Weakness(
        name="lets the identity list others", row="R8", told="may list what is not its source's",
        then=_allows(lambda asked: asked.lists, S3Reply(status=200, body=_LIST)),
    ),
    Weakness(
        name="lets the identity read others", row="R8", told="may read what is not its source's",
        then=_allows(lambda asked: asked.method == "GET" and asked.key.endswith("/config"), S3Reply(status=200, body=b"sealed")),
    ),
    Weakness(
        name="lets the identity write to others", row="R8", told="may write below other prefixes",
        then=_allows(lambda asked: "uploads" in asked.query, S3Reply(status=200, body=_STARTED)),
    ),
    Weakness(
        name="lets the identity hide objects", row="R1", told="may delete objects outside locks/",
        then=_allows(lambda asked: asked.method == "DELETE" and "versionId" not in asked.query, S3Reply(status=204)),
    ),
    Weakness(
        name="lets the identity delete versions", row="R2", refused=True, told="may delete versions",
        then=_allows(lambda asked: asked.method == "DELETE" and "versionId" in asked.query, S3Reply(status=204)),
    ),
    Weakness(
        name="lets the identity lock for longer", row="R5", told="may lock objects for longer",
        then=_allows(lambda asked: asked.method == "PUT" and "retention" in asked.query, S3Reply(status=200)),
    ),
    Weakness(
        name="lets the identity change the bucket", row="R4", refused=True, told="lifecycle, versioning, object-lock, policy",
        then=_allows(lambda asked: asked.method == "PUT" and bool({*_SETTINGS} & {*asked.query}), error(400, "MalformedXML")),
    ),
    Weakness(
        name="lets current objects expire", row="R1", refused=True, told="lets current objects expire",
        instead=has_lifecycle("<Expiration><Days>30</Days></Expiration>"),
    ),
    Weakness(
        name="moves objects to an archive", row="A9", told="to an archive class",
        instead=has_lifecycle("<Transition><Days>1</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition>"),
    ),
)  # fmt: skip


@dataclass(kw_only=True)
class WeakStorage:
    """The proxy.

    Args:
        endpoint: Its address, for the relay.
        port: Its port.
        ca: The certificate authority that signed its certificate.
        weak: The guarantees that it breaks now.
        asked: Every request that came.
    """

    endpoint: str
    port: int
    ca: str
    weak: Sequence[Weakness] = ()
    asked: list[S3Request] = field(default_factory=list)

    def answer(self, asked: S3Request, forward: Callable[[], S3Reply]) -> S3Reply:
        self.asked.append(asked)
        reply = next((reply for one in self.weak if (reply := one.instead(asked)) is not None), None)
        if reply is None:
            reply = forward()
        for one in self.weak:
            reply = one.then(asked, reply)
        return reply


@contextmanager
def weak_storage(
    upstream: str, ca: Path | None, bucket: str, folder: Path, network: AbstractContextManager[object]
) -> Iterator[WeakStorage]:
    """Run the proxy.

    Args:
        upstream: The storage's origin, https.
        ca: The certificate authority to trust for it, None for the system's.
        bucket: The bucket's name.
        folder: Where the proxy's certificate is made.
        network: The network on whose 127.0.0.1 it listens, entered by the proxy's thread.
    """
    from sandbox.certificates import make_certificates  # imported late: recovery runs without the sandbox

    make_certificates(folder, "127.0.0.1")
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "public.crt", folder / "private.key")
    with ThreadPoolExecutor(1, thread_name_prefix="weak-storage") as thread:
        # Threads that it starts for its connections are in the same network.
        thread.submit(network.__enter__).result()
        try:
            server = thread.submit(ThreadingHTTPServer, ("127.0.0.1", 0), BaseHTTPRequestHandler).result()
            server.socket = serving.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            port = server.server_address[1]
            made = WeakStorage(
                endpoint=f"https://127.0.0.1:{port}", port=port, ca=(folder / "ca.crt").read_text()
            )
            server.RequestHandlerClass = _handler(made, bucket, urlsplit(upstream), context)
            running = thread.submit(server.serve_forever, 0.05)
            try:
                yield made
            finally:
                server.shutdown()
                running.result()
                server.server_close()
        finally:
            thread.submit(network.__exit__, None, None, None).result()


def _handler(
    weak: WeakStorage, bucket: str, upstream: SplitResult, trust: ssl.SSLContext
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): text for name, text in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            asked = S3Request(
                method=self.command,
                key=parts.path.removeprefix(f"/{bucket}").lstrip("/"),
                query={
                    name: found[0] for name, found in parse_qs(parts.query, keep_blank_values=True).items()
                },
                headers=headers,
            )
            reply = weak.answer(asked, lambda: self.forwarded(body))
            self.send_response_only(reply.status)
            for name, text in reply.headers.items():
                self.send_header(name, text)
            if self.command != "HEAD" or "content-length" not in reply.headers:
                self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        def forwarded(self, body: bytes) -> S3Reply:
            connection = HTTPSConnection(
                upstream.hostname or "", upstream.port or 443, context=trust, timeout=30
            )
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, text in self.headers.items():
                    if name.lower() != "connection":
                        connection.putheader(name, text)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
                length = {"content-length"} if self.command == "HEAD" else set()
                kept = {name.lower(): text for name, text in answer.getheaders()}
                return S3Reply(
                    status=answer.status,
                    headers={name: text for name, text in kept.items() if name not in _HOP - length},
                    body=content,
                )
            finally:
                connection.close()

        def log_message(self, *_: object) -> None:
            """Does nothing: ``asked`` has every request."""

    return Handler
