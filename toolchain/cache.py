"""The cache of tools. A tool in it is complete or absent, even if a run was killed; concurrent runs are safe."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .progress import note

Origin = Literal["PATH", "pulumi plugins", "official release", "built from registry", "stand-in"]


@dataclass(frozen=True)
class Tool:
    """A program that satisfies its pin. It is run by `path`, never by name."""

    name: str
    version: str
    path: Path
    origin: Origin


def cache_root(environ: Mapping[str, str]) -> Path:
    """LASTCOPY_CACHE, or the user's cache directory."""
    chosen = environ.get("LASTCOPY_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path(environ.get("XDG_CACHE_HOME") or home(environ) / ".cache") / "lastcopy"


def home(environ: Mapping[str, str]) -> Path:
    """The user's home directory."""
    return Path(environ.get("HOME") or "~").expanduser()


@dataclass(frozen=True)
class Cache:
    """A folder with tools/TOOL/VERSION/TOOL, each with a file `origin` beside it; unfinished work is in tmp/ and downloads/."""

    root: Path

    def folder(self, name: str, version: str) -> Path:
        """The path of this version of a tool, whether it exists or not."""
        return self.root / "tools" / name / version

    def get(self, name: str, version: str, folder_of: str = "") -> Tool | None:
        """The cached tool, or None if it is not complete."""
        folder = self.folder(folder_of or name, version)
        program, origin = folder / name, folder / "origin"
        if not (os.access(program, os.X_OK) and origin.is_file()):
            return None
        for known in get_args(Origin):
            if origin.read_text(encoding="utf-8") == known:
                return Tool(name, version, program, known)
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock under which one run at a time gets tools. It is released when the process ends, however that happens."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note(f"waiting for another run that is getting tools into {self.root}")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty folder, under the lock. Leftovers of killed runs are removed first."""
        tmp = self.root / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        folder = Path(tempfile.mkdtemp(dir=tmp))
        try:
            yield folder
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def install(self, staged: Path, name: str, version: str, origin: Origin) -> Tool:
        """Move a finished folder into place atomically."""
        for program in staged.iterdir():
            program.chmod(0o755)
            with program.open("rb") as handle:
                os.fsync(handle.fileno())
        (staged / "origin").write_text(origin, encoding="utf-8")
        target = self.folder(name, version)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # it exists, but is incomplete
            target.rename(staged.with_name("replaced"))
        staged.chmod(0o755)
        staged.rename(target)
        return Tool(name, version, target / name, origin)
