"""Raw HTTP/2 requests over the forced command, as an attacker with a source's key can send them. No request is checked or normalized."""

from __future__ import annotations

import contextlib
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from ops.hosts.connection import ssh_environment

AT_ONCE = 200  # Go's HTTP/2 server lets 250 requests be open


@dataclass(frozen=True)
class RestRequest:
    """One request. ``path`` is sent as it is, never normalized."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class RestResponse:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False


class SessionEnded(Exception):
    """The forced command ended or stopped answering.

    Args:
        words: What it wrote to stderr.
        code: Its exit code; None if it had to be killed.
    """

    def __init__(self, words: str, code: int | None) -> None:
        super().__init__(f"exit code {code}: {words}")
        self.words = words
        self.code = code


class Session:
    """A running forced command, as an HTTP/2 server.

    Args:
        argv: The ssh command line, without a remote command.
        patience: Seconds to wait for answers.
    """

    def __init__(self, argv: Sequence[str], patience: float = 60) -> None:
        self._patience = patience
        self._process = subprocess.Popen(
            list(argv), env=ssh_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )  # fmt: skip
        if not self._process.stdin or not self._process.stdout or not self._process.stderr:
            raise AssertionError("a pipe is missing")
        self._in, self._out, self._err = self._process.stdin, self._process.stdout, self._process.stderr
        # The library's checks would refuse to send what an attacker sends.
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
            )
        )
        self._h2.initiate_connection()
        self._answers: dict[int, RestResponse] = {}
        self._bodies: dict[int, bytes] = {}
        self._done: set[int] = set()
        self._unended: set[int] = set()  # streams whose body has no end yet
        self._called: set[int] = set()  # streams whose body the other side has asked for
        self._flush()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> RestResponse:
        return self.together([RestRequest(method, path, body, tuple(headers.items()))])[0]

    def together(self, requests: Sequence[RestRequest]) -> list[RestResponse]:
        """Send requests concurrently, as many as a server accepts at a time. Returns the answers in the requests' order."""
        return [
            answer
            for first in range(0, len(requests), AT_ONCE)
            for answer in self._crowd(requests[first : first + AT_ONCE])
        ]

    def _crowd(self, requests: Sequence[RestRequest]) -> list[RestResponse]:
        streams = [self._start(request) for request in requests]
        deadline = time.monotonic() + self._patience
        while not self._done.issuperset(streams):
            for stream in streams:
                self._push(stream)
            self._flush()
            self._receive(deadline)
        return [self._answers.pop(stream) for stream in streams]

    def start(self, request: RestRequest) -> int:
        """Send a request without waiting for its answer. Returns its stream."""
        stream = self._start(request)
        self._push(stream)
        self._flush()
        return stream

    def begin(self, request: RestRequest, length: int | None) -> int:
        """Start a request whose body `feed` sends; ``length`` is what the request claims, true or not. Returns its stream."""
        stream = self._start(request, length=length, open_ended=True)
        self._flush()
        return stream

    def called_for(self, stream: int, deadline: float) -> bool:
        """Wait until ``deadline`` (`time.monotonic`) for "100 Continue". Returns whether it came."""
        while stream not in self._called | self._done and (left := deadline - time.monotonic()) > 0:
            if select.select([self._out], [], [], left)[0]:
                self._receive(time.monotonic() + 1)
        self._take_what_came()  # also if the deadline had passed before this stream's turn
        return stream in self._called

    def feed(self, stream: int, data: bytes, *, end: bool = False) -> bool:
        """Send more of a body, as far as the server accepts it. Returns False once the answer is there."""
        self._bodies[stream] = self._bodies.get(stream, b"") + data
        if end:
            self._unended.discard(stream)
            if not self._bodies[stream] and stream not in self._done:
                self._h2.end_stream(stream)
        deadline = time.monotonic() + self._patience
        while stream not in self._done:
            self._push(stream)
            self._flush()
            if not self._bodies[stream]:
                break
            self._receive(deadline)
        self._take_what_came()
        return stream not in self._done

    def answer(self, stream: int) -> RestResponse:
        """Wait for a stream's answer."""
        deadline = time.monotonic() + self._patience
        while stream not in self._done:
            self._push(stream)
            self._flush()
            self._receive(deadline)
        return self._answers.pop(stream)

    def _take_what_came(self) -> None:
        while select.select([self._out], [], [], 0)[0]:
            self._receive(time.monotonic() + 1)

    def _start(self, request: RestRequest, *, length: int | None = None, open_ended: bool = False) -> int:
        stream = self._h2.get_next_available_stream_id()
        names = [
            (":method", request.method),
            (":path", request.path),
            (":scheme", "http"),
            (":authority", "localhost"),
        ]
        names += list(request.headers)
        if open_ended:
            names += [("content-length", str(length))] if length is not None else []
            self._unended.add(stream)
        elif request.body or request.method in ("POST", "PUT"):
            names.append(("content-length", str(len(request.body))))
        self._answers[stream] = RestResponse()
        self._bodies[stream] = request.body
        self._h2.send_headers(stream, names, end_stream=not request.body and not open_ended)
        return stream

    def _push(self, stream: int) -> None:
        """Send as much of the body as flow control allows."""
        body = self._bodies.get(stream, b"")
        if stream in self._done:
            return
        while body:
            window = min(
                self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, 1 << 16
            )
            if window <= 0:
                break
            self._h2.send_data(
                stream, body[:window], end_stream=len(body) <= window and stream not in self._unended
            )
            body = body[window:]
        self._bodies[stream] = body

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            try:
                self._in.write(data)
                self._in.flush()
            except BrokenPipeError:
                self._gone()

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._out], [], [], left)[0]:
            self._gone()
        data = self._out.read1(1 << 16)  # type: ignore[attr-defined]
        if not data:
            self._gone()
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.H2Error:
            # It is not rclone. What it wrote is on stdout, so it counts as its words.
            self._process.kill()
            raise SessionEnded(f"not HTTP/2: {data[:200].decode(errors='replace')}", None) from None
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", 0) or 0
        answer = self._answers.get(stream)
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            found = {str(name): str(value) for name, value in event.headers or []}
            answer.status = int(found.pop(":status"))
            answer.headers = found
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self._called.add(stream)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        elif isinstance(event, h2.events.StreamEnded):
            self._done.add(stream)
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = True
            self._done.add(stream)

    def _gone(self) -> None:
        code = self._process.poll()
        if code is None:
            try:
                code = self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
        raise SessionEnded(self.words(), code)

    def words(self) -> str:
        """End the session. Returns what it wrote to stderr."""
        self.end()
        return self._err.read().decode(errors="replace")

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def close(self) -> None:
        self.end()
        self._out.close()
        self._err.close()
