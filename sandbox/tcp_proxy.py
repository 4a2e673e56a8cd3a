"""A TCP proxy: a port of 127.0.0.1 whose connections are carried by a command (`podman exec … nc HOST PORT`)."""

from __future__ import annotations

import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def serve_tcp_proxy(command: Sequence[str]) -> Iterator[int]:
    """Serve a port, which is yielded. Each connection gets its own process of `command`, which ends with the connection."""

    class Carry(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            ) as carrier:
                back = threading.Thread(target=self._back, args=(carrier.stdout,), daemon=True)
                back.start()
                _copy(self.connection.makefile("rb", buffering=0), carrier.stdin)
                back.join(timeout=5)
                carrier.kill()

        def _back(self, answers: Any) -> None:
            _copy(answers, self.wfile)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Carry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _copy(source: Any, target: Any) -> None:
    """Copy until the source ends or either side is closed; both end the connection."""
    try:
        shutil.copyfileobj(source, target, 16384)
        target.close()
    except OSError:
        return
