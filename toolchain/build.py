"""Builds a tool with Go from the module proxy, with the versions and hashes of the committed go.mod and go.sum."""

from __future__ import annotations

import collections
import hashlib
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from .errors import Closed
from .pins import Pin, Pins, numbers
from .progress import step

AUTO_TOOLCHAIN = "1.21.0"  # since this version Go fetches a newer Go by itself


class GoBuilder:
    """Runs `go build`. It uses the user's Go caches if there are any, otherwise its own, which `tidy` removes."""

    def __init__(self, pins: Pins, sources: Path, cache: Path, environ: Mapping[str, str]):
        self.pins, self.sources, self.cache = pins, sources, cache
        self.environ = {"GOTOOLCHAIN": "auto", **environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        self.own: list[Path] = []

    def build(self, pin: Pin, target: Path) -> None:
        """Write the program to `target`, or raise `Closed` with the reason."""
        assert pin.build is not None  # noqa: S101
        go = self._ready()
        where = "standins" if pin.build.standin else f"go/{pin.name}"
        flags = ["-mod=readonly", "-buildvcs=false", "-trimpath", "-v", "-o", str(target)]
        ldflags = f"-ldflags=-s -w {pin.build.ldflags}"
        source = "our stand-in" if pin.build.standin else f"{pin.version} from the Go module proxy"
        log = self.cache / "logs" / f"{pin.stored(pin.name)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            step(f"{pin.stored(pin.name)}: building {source}") as update,
            log.open("w", encoding="utf-8") as out,
        ):
            process = subprocess.Popen(
                [go, "build", *flags, ldflags, pin.build.package],
                cwd=self.sources / where,
                env={**self.environ, **dict(pin.build.environ)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            lines: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_read, args=(process, lines), daemon=True).start()
            tail: collections.deque[str] = collections.deque(maxlen=8)
            compiled = fetched = 0
            while True:
                try:
                    line = lines.get(timeout=1)
                except queue.Empty:
                    line = ""
                if line is None:
                    break
                if line:
                    out.write(line)
                    tail.append(line.strip())
                    fetched += line.startswith("go: downloading")
                    compiled += not line.startswith("go: ")
                update(f"{fetched} modules, {compiled} packages")
            if process.wait() != 0:
                raise Closed("go build failed:\n      " + "\n      ".join(tail) + f"\n    (all of it: {log})")

    def tidy(self) -> None:
        """Remove the Go caches that were made for this build; the user's own are kept."""
        if self.own:
            shutil.rmtree(self.cache / "go", ignore_errors=True)
        self.own = []

    def _ready(self) -> str:
        go = shutil.which("go", path=self.environ.get("PATH"))
        if go is None:
            raise Closed("go is not on PATH")
        answer = subprocess.run(
            [go, "env", "GOVERSION", "GOTOOLCHAIN", "GOMODCACHE", "GOCACHE"],
            env=self.environ,
            cwd=self.sources,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise Closed(f"{go} does not work: {answer.stderr.strip()}")
        found, toolchain, modules, objects = answer.stdout.splitlines()
        version = re.sub(r"^go", "", found)
        enough = AUTO_TOOLCHAIN if toolchain != "local" else self.pins.go_oldest
        if numbers(version) < numbers(enough):
            raise Closed(
                f"{go} is Go {version}; it must be at least {self.pins.go_oldest} (GOTOOLCHAIN={toolchain})"
            )
        fresh = not (self.cache / "go").exists()
        for variable, folder in (("GOMODCACHE", modules), ("GOCACHE", objects)):
            own = self.cache / "go" / variable.lower()
            if folder != str(own) and (own.exists() or not (folder and Path(folder).is_dir())):
                self.environ[variable] = str(own)
                self.own.append(own)
                if variable == "GOMODCACHE":  # else it could not be deleted
                    self.environ["GOFLAGS"] = f"{self.environ.get('GOFLAGS', '')} -modcacherw".strip()
        free = shutil.disk_usage(self.cache).free / 2**30
        if self.own and fresh and free < self.pins.free_gib:
            need = f"building everything needs {self.pins.free_gib} GiB"
            raise Closed(
                f"{self.cache} has {free:.1f} GiB free, {need} (LASTCOPY_CACHE names another folder)"
            )
        return go


def sources_digest(folder: Path) -> str:
    """A digest of the stand-ins' sources, so that they are built again after an edit."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and not path.name.endswith("_test.go"):
            digest.update(f"{relative}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stderr is not None  # noqa: S101
    for line in process.stderr:
        lines.put(line)
    lines.put(None)
