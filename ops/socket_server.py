"""A server on a Unix socket that only this user can reach, for the duration of a block."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def serve_on_socket(socket: Path, handler: type[socketserver.BaseRequestHandler]) -> Iterator[None]:
    """Handle each connection to the socket in its own thread. The socket is removed at the end of the block."""
    with _Server(str(socket), handler) as server:
        socket.chmod(0o600)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            socket.unlink()
