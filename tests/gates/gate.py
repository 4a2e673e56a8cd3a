"""A gate: a reverse proxy with TLS in front of a real S3 server that refuses what a given service would refuse.

It verifies the signature, the clock, the region and every digest itself, decodes the body, and sends the request on, signed again with the same
identity's key. Services differ in their rules (rules.py, services.py). A gate is stricter than the service that it represents, so it
proves that lastcopy works within these rules, not that the service has them.
"""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.bucket import _pool
from tests.enforced.servers import REGION, Identity
from tests.gates.message import Answer, Refused, Request
from tests.gates.rules import Exchange, Rule
from tests.gates.signature import SKEW, Signed, sign

LARGEST = 80 << 20  # bytes per request: more than any pack of these tests


def _is_passed_on(name: str) -> bool:
    """Whether the server behind the gate gets this header. Other headers were meant for the gate, or are written again."""
    if name in ("content-type", "content-md5", "if-match", "if-none-match", "range"):
        return True
    signing = ("x-amz-date", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer")
    return name.startswith("x-amz-") and name not in signing and "checksum" not in name


@dataclass(frozen=True)
class Seen:
    """One request and its answer; ``refused``: the gate's own code for a refusal."""

    request: Request
    status: int
    refused: str = ""


@dataclass
class Gate:
    """One gate. ``behind``: the endpoint of the server behind; ``certs``: the folder with ca.crt, public.crt and private.key of both.

    ``clock``: the difference between the service's clock and this machine's; ``region``: the endpoint's; ``secrets``: by access key id.
    """

    behind: str
    certs: Path
    rules: Sequence[Rule]
    region: str = REGION
    clock: datetime.timedelta = datetime.timedelta()
    secrets: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    endpoint: str = ""

    @property
    def ca(self) -> Path:
        return self.certs / "ca.crt"

    def knows(self, identity: Identity) -> Identity:
        """Accept this identity; the server behind the gate still decides about its rights."""
        self.secrets[identity.access_key] = identity.secret_key
        return identity

    def take(self, request: Request) -> Answer:
        """The answer to a request: the first refusal, or the answer of the server behind, in this service's form."""
        refused = ""
        try:
            signed = Signed(request)
            exchange = Exchange(request, signed, lambda asked: self.pass_on(asked, signed.key))
            answer = self._exchanged(exchange)
        except Refused as error:
            answer, refused = error.answer, error.code
        self.seen.append(Seen(request, answer.status, refused))
        return answer

    def _exchanged(self, exchange: Exchange) -> Answer:
        request = exchange.request
        try:
            for rule in self.rules:
                rule.arrives(exchange)
            self._let_in(exchange.signed)
            request.take_apart()
            for rule in self.rules:
                rule.refuses(exchange)
            request.verify()
            for rule in self.rules:
                rule.sends_on(exchange)
            exchange.answer = exchange.ask(request)
            for rule in self.rules:
                rule.answers(exchange)
            return exchange.answer
        finally:
            for rule in self.rules:
                rule.leaves(exchange)

    def _let_in(self, signed: Signed) -> None:
        if signed.age(datetime.datetime.now(datetime.UTC) + self.clock) > SKEW:
            words = "The difference between the request time and the current time is too large."
            raise Refused(403, "RequestTimeTooSkewed", words)
        signed.verify(self.secrets)
        if signed.region != self.region:
            words = f"The authorization header is malformed; the region '{signed.region}' is wrong; expecting '{self.region}'"
            raise Refused(400, "AuthorizationHeaderMalformed", words, Region=self.region)

    def pass_on(self, request: Request, key: str) -> Answer:
        """The answer of the server behind to the same identity."""
        headers = {name: value for name, value in request.headers.items() if _is_passed_on(name)}
        headers["host"] = urlsplit(self.behind).netloc
        behind = Request(request.method, request.target, headers, request.payload)
        sign(behind, key, self.secrets[key], REGION)
        answer = self.pool.request(
            behind.method,
            f"{self.behind}{behind.target}",
            body=behind.body,
            headers=behind.headers,
            decode_content=False,
            redirect=False,
        )
        gone = ("connection", "transfer-encoding", "keep-alive", "date", "server")
        kept = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in gone}
        return Answer(answer.status, kept, answer.data)

    @cached_property
    def pool(self) -> Any:
        """Connections to the server behind."""
        return _pool(self.certs.parent, 30)


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = gate.take(Request(self.command, self.path, headers, self._body(headers)))
            self.send_response(answer.status)
            body = b"" if self.command == "HEAD" else answer.body
            for name, value in {"content-length": str(len(body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

        def _body(self, headers: dict[str, str]) -> bytes:
            length = int(headers.get("content-length", "0"))
            if "transfer-encoding" in headers or length > LARGEST:
                raise ValueError(f"no body of this kind: {headers}")
            return self.rfile.read(length)

        def log_message(self, format: str, *args: Any) -> None:
            """Does nothing: the gate records every request."""

    return Handler


@contextmanager
def opened(gate: Gate) -> Iterator[Gate]:
    """Run the gate on a loopback port, with the certificate of the server behind it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(gate.certs / "public.crt", gate.certs / "private.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(gate)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        gate.endpoint = f"https://127.0.0.1:{server.server_address[1]}"
        try:
            yield gate
        finally:
            server.shutdown()
            thread.join()
