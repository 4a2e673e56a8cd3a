"""Records every command line and environment that appears on this machine, including those of a local sandbox's machines."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")


class ProcWatch:
    """Reads /proc again and again while it is entered. Sandbox machines share this kernel, so their processes are in it too."""

    def __init__(self, *, pause: float = 0.01) -> None:
        """``pause``: seconds between two readings. A process that lives for a shorter time may be missed."""
        self._pause = pause
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._pause):
            for process in PROC.iterdir():
                if not process.name.isdigit():
                    continue
                for what in ("cmdline", "environ"):
                    try:
                        self.seen.add((process / what).read_bytes())
                    except OSError:
                        break  # it ended between the two readings
