"""A view of chosen versions, served to restic by its own REST protocol, read-only, on a socket that only this user can reach.

rclone shows the past according to the dates that the storage reports. These cannot always be trusted, so restic gets exactly the chosen versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from ops.errors import LastcopyError
from ops.history.versions import Entry, area
from ops.socket_server import serve_on_socket
from ops.storage.client import Storage

V2 = "application/vnd.x.restic.rest.v2"
CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@contextmanager
def serve_view(
    storage: Storage, view: Mapping[str, Entry], socket: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """Answer restic's requests on the socket from these versions only, until the end of the block.

    If the storage does not return a version, restic gets an incomplete answer and silently retries for up to 15 minutes. So each reason is
    passed to ``say`` once.
    """
    kinds: dict[str, dict[str, Entry]] = {}
    for name, entry in view.items():
        kinds.setdefault(area(name), {})[name.rsplit("/", 1)[-1]] = entry

    class Handler(_ViewHandler):
        view = _View(storage, kinds, say)

    with serve_on_socket(socket, Handler):
        yield


class _View:
    """The versions that are served, by kind and name, and the reasons that were told already."""

    def __init__(
        self, storage: Storage, kinds: Mapping[str, Mapping[str, Entry]], say: Callable[[str], None]
    ) -> None:
        self.storage = storage
        self.kinds = kinds
        self._say = say
        self._reasons: set[str] = set()

    def report(self, error: LastcopyError) -> None:
        """Say why a version is not returned, each reason once."""
        reason = error.what.rpartition(": ")[2]
        if reason not in self._reasons:
            self._reasons.add(reason)
            self._say(f"{error.what}; restic will try again")


class _ViewHandler(BaseHTTPRequestHandler):
    """Answers one connection of restic's from the view."""

    protocol_version = "HTTP/1.1"
    view: _View

    def address_string(self) -> str:
        return "restic"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: an attacker may have chosen the names."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        _, kind, *rest = self.path.partition("?")[0].split("/")
        if kind in self.view.kinds and kind != "config" and rest in ([], [""]):
            listed = [
                {"name": name, "size": entry.size} for name, entry in sorted(self.view.kinds[kind].items())
            ]
            self._send(200, json.dumps(listed).encode() if body else b"", V2)
            return
        name = rest[0] if len(rest) == 1 else "config"
        entry = self.view.kinds.get(kind, {}).get(name)
        if entry is None:
            empty = kind in ("keys", "locks", "snapshots", "index", "data") and rest in ([], [""])
            self._send(200 if empty else 404, b"[]" if empty else b"", V2)
            return
        self._send_entry(entry, body=body)

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_entry(self, entry: Entry, *, body: bool) -> None:
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]), entry.size - 1) if asked and asked[2] else entry.size - 1
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(max(0, last - first + 1)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{entry.size}")
        self.end_headers()
        if not body or last < first:
            return
        try:
            for part in self.view.storage.parts(entry, first, last, CHUNK):
                self.wfile.write(part)
        except LastcopyError as error:
            self.close_connection = True
            self.view.report(error)
        except OSError:
            self.close_connection = True  # restic has hung up
