"""Gets a tool: the user's own if it fits, otherwise the official release, otherwise a build from package registries."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from . import fetch, find, signature
from .build import GoBuilder, sources_digest
from .cache import Cache, Tool, cache_root
from .errors import Closed, ToolError
from .pins import HERE, Pin, Pins, load
from .progress import note, step

STANDIN_SECONDS = 86400.0  # seconds after which the official plugin is looked for again


@dataclass
class Toolchain:
    """The pins, the cache and the ways to get a tool, for one run."""

    pins: Pins = field(default_factory=load)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    sources: Path = HERE

    def __post_init__(self) -> None:
        self.cache = Cache(cache_root(self.environ))
        self.go = GoBuilder(self.pins, self.sources, self.cache.root, self.environ)

    def ensure(self, *names: str, tests: bool = False) -> dict[str, Tool]:
        """Return every named tool. Raises one ToolError that lists everything that is missing.

        Without names: all tools that the program and the local stack use, and with `tests` also those that only tests use.
        """
        wanted = self._pins(names, tests)
        got: dict[str, Tool] = {}
        missing: list[str] = []
        for pin in wanted:
            tried: dict[str, str] = {}
            tool = self.have(pin, tried) or self._get(pin, tried)
            if tool is None:
                missing.append(self._explain(pin, tried))
                continue
            got[pin.name] = tool
        if missing:
            raise ToolError("\n\n".join(missing))
        self.go.tidy()
        if standins := [tool.name for tool in got.values() if tool.origin == "stand-in"]:
            note(
                f"stand-ins from toolchain/standins are used, because there are no official ones here: {', '.join(standins)}"
            )
        return got

    def for_host(self, name: str, architecture: str) -> Tool:
        """Return a tool for a Linux host of an architecture, in Debian's name for it: the official release, or built from the registry.

        A tool on PATH is not used: it is unverified, and may need libraries that the host does not have.
        """
        [known] = self._pins((name,), tests=False)
        pin, tried = self.pins.for_host(known.name, architecture), dict[str, str]()
        tool = self._cached(pin) or self._get(pin, tried)
        if tool is None:
            raise ToolError(self._explain(pin, tried))
        self.go.tidy()
        return tool

    def have(self, pin: Pin, tried: dict[str, str]) -> Tool | None:
        """Return the tool if it needs neither a download nor a build."""
        tool = _try("on PATH", tried, lambda: find.on_path(self.pins, pin, self.environ))
        if tool is None and pin.plugin:
            tool = _try("in Pulumi's plugins", tried, lambda: find.in_pulumi_home(pin, self.environ))
        return tool or self._cached(pin)

    def _cached(self, pin: Pin) -> Tool | None:
        versions = [pin.release.version] if pin.release else []
        for version in dict.fromkeys([*versions, pin.version]):
            if tool := self.cache.get(pin.name, pin.stored(version)):
                return replace(tool, version=version)
        if pin.beside and (tool := self.cache.get(pin.name, pin.version, folder_of=pin.beside)):
            return tool
        tool = self._standin(pin)
        if tool and time.time() - (tool.path.parent / "origin").stat().st_mtime < STANDIN_SECONDS:
            return tool
        return None

    def _standin(self, pin: Pin) -> Tool | None:
        if pin.build and pin.build.standin:
            return self.cache.get(pin.name, self._standin_version(pin))
        return None

    def _standin_version(self, pin: Pin) -> str:
        return f"{pin.version}-standin-{sources_digest(self.sources / 'standins')}"

    def _get(self, pin: Pin, tried: dict[str, str]) -> Tool | None:
        if passed_over := tried.get("on PATH", "not found").removeprefix("not found"):
            note(f"{pin.name} on PATH is not used: {passed_over}")
        with self.cache.lock():
            tool = self._cached(pin)  # the run that held the lock got it
            tool = tool or _try("official release", tried, lambda: self._official(pin))
            if tool is None:
                note(f"official release not used: {tried['official release']}")
            return tool or _try("built with Go", tried, lambda: self._built(pin))

    def _official(self, pin: Pin) -> Tool:
        release = pin.release
        if release is None:
            raise Closed(f"upstream publishes no {pin.name} for this platform")
        fetch.reach(release.archive, [p.release.archive for p in self.pins.tools.values() if p.release])
        if release.fingerprint:
            signature.need_gpg(pin.name)
        name = PurePosixPath(urlsplit(release.archive).path).name
        downloads = self.cache.root / "downloads" / f"{pin.name}-{pin.stored(release.version)}"
        downloads.mkdir(parents=True, exist_ok=True)
        archive = downloads / name
        with self.cache.staging() as stage:
            with step(f"{pin.name}: official release {pin.stored(release.version)}") as update:
                if not archive.exists():
                    fetch.download(release.archive, archive, update)
                fetch.verify(pin.name, release, archive, name, stage)
                programs = stage / "programs"
                programs.mkdir()
                fetch.unpack(archive, release.members, programs)
            if not (programs / pin.name).is_file():
                raise ToolError(f"{pin.name}: {name} contains no {pin.name}; correct toolchain/versions.toml")
            tool = self.cache.install(programs, pin.name, pin.stored(release.version), "official release")
        archive.unlink()
        downloads.rmdir()
        return replace(tool, version=release.version)

    def _built(self, pin: Pin) -> Tool:
        if pin.build is None:
            raise Closed("its source is on no registry")
        if pin.build.standin and (tool := self._standin(pin)):
            os.utime(tool.path.parent / "origin")
            return tool
        with self.cache.staging() as stage:
            programs = stage / "programs"
            programs.mkdir()
            self.go.build(pin, programs / pin.name)
            if not pin.build.standin:
                made = self.cache.install(programs, pin.name, pin.stored(pin.version), "built from registry")
                return replace(made, version=pin.version)
            tool = self.cache.install(programs, pin.name, self._standin_version(pin), "stand-in")
        for old in tool.path.parent.parent.glob("*-standin-*"):  # of sources that were edited since
            if old != tool.path.parent and time.time() - old.stat().st_mtime > STANDIN_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return tool

    def _pins(self, names: tuple[str, ...], tests: bool) -> list[Pin]:
        unknown = [name for name in names if name not in self.pins.tools]
        if unknown:
            known = ", ".join(self.pins.tools)
            raise ToolError(f"there is no tool {', '.join(unknown)}; the tools are {known}")
        if names:
            return [self.pins.tools[name] for name in names]
        return [pin for pin in self.pins.tools.values() if tests or not pin.only]

    def _explain(self, pin: Pin, tried: dict[str, str]) -> str:
        lines = [f"{pin.name} {pin.fitting} is needed and could not be found, downloaded or built:"]
        lines += [f"  {way}: {reason}" for way, reason in tried.items()]
        fixes = [] if pin.platform else [f"put {pin.name} {pin.fitting} on PATH"]
        if pin.build:
            fixes.append(f"install Go {self.pins.go_oldest} or newer (https://go.dev/dl)")
        if pin.release:
            fixes.append(f"let this machine reach {urlsplit(pin.release.archive).netloc}")
        again = " it again" if pin.platform else f": lastcopy tools ensure {pin.name}"
        lines.append(f"Fix: {', or '.join(fixes)}; then run{again}")
        return "\n".join(lines)


def _try(way: str, tried: dict[str, str], get: Callable[[], Tool]) -> Tool | None:
    try:
        return get()
    except Closed as reason:
        tried[way] = str(reason)
        return None
