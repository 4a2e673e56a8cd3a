"""Reads versions.toml: every pin, typed, with its URLs filled in for this machine."""

from __future__ import annotations

import platform
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import ToolError

HERE = Path(__file__).resolve().parent
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# A release's date (minio) or three numbers; a dash after that marks a build that is not a release.
DATED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)()")
NUMBERED = re.compile(r"\bv?(\d+\.\d+\.\d+)(-[\w.]+)?")


@dataclass(frozen=True, kw_only=True)
class Release:
    """Where the official release is and how it is verified."""

    version: str
    archive: str
    members: tuple[str, ...]
    sums: str = ""
    signature: str = ""
    fingerprint: str = ""
    keys: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Build:
    """How Go builds the tool; `standin` means our own source instead of upstream's."""

    package: str
    module: str = ""
    ldflags: str = ""
    standin: bool = False
    environ: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pin:
    """The pin of one tool. ``platform``: "" for this machine, otherwise the host's, such as ``linux-armhf``."""

    name: str
    version: str
    oldest: str
    below: str = ""
    why: str = ""
    ask: str = ""
    beside: str = ""
    plugin: str = ""
    only: str = ""
    platform: str = ""
    release: Release | None = None
    build: Build | None = None

    def stored(self, version: str) -> str:
        """The name of that version's folder in the cache."""
        return f"{version}-{self.platform}" if self.platform else version

    @property
    def fitting(self) -> str:
        """The allowed versions, in words for an error message."""
        if self.plugin or self.beside:
            return self.version
        return f"{self.oldest} or newer" + (f", below {self.below}" if self.below else "")

    def reads(self, output: str) -> tuple[str, bool]:
        """The version in a tool's output, and whether it is allowed."""
        found = (DATED if DATED.fullmatch(self.version) else NUMBERED).search(output)
        if not found:
            return "without a readable version", False
        version, suffix = found[1], found[2] or ""
        if self.plugin:
            return version + suffix, version + suffix == self.version
        # 1.76.0-beta.3 is older than 1.76.0
        new_enough = numbers(version) > numbers(self.oldest) or (version == self.oldest and not suffix)
        return version + suffix, new_enough and not (self.below and numbers(version) >= numbers(self.below))


@dataclass(frozen=True, kw_only=True)
class Pins:
    """The whole file, parsed."""

    tools: dict[str, Pin]
    go_oldest: str
    free_gib: float
    path: Path = field(default=HERE / "versions.toml")

    def for_host(self, name: str, architecture: str) -> Pin:
        """Return a tool's pin for a Linux host of an architecture, in Debian's name for it. Raise ToolError if there is no release."""
        return _pins_of_host(self.path, name, architecture)


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, so that 1.9 comes before 1.10."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def this_machine() -> tuple[str, str]:
    """Operating system and processor in Go's names. Raises ToolError with the supported ones."""
    system, machine = platform.system().lower(), MACHINES.get(platform.machine().lower())
    if system not in ("linux", "darwin") or machine is None:
        here = f"{platform.system()} on {platform.machine()}"
        raise ToolError(f"{here} is not supported: use Linux or macOS on amd64 or arm64")
    return system, machine


def load(path: Path = HERE / "versions.toml") -> Pins:
    """Read the pins for this machine."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    go, where = data.pop("go"), this_machine()
    tools = {name: _pin(name, dict(table), where) for name, table in data.items()}
    return Pins(tools=tools, go_oldest=go["oldest"], free_gib=go["free_gib"], path=path)


def _pins_of_host(path: Path, name: str, architecture: str) -> Pin:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    table = dict(data[name])
    known: dict[str, str] = table.get("host", {}).get("arch", {})
    if architecture not in known:
        raise ToolError(
            f"{name}: there is no release for hosts of the architecture {architecture!r}; known are {', '.join(known)}",
            fix=f"install {name} {table.get('oldest', table['version'])} or newer as /usr/local/bin/{name} on the host, then run it again",
        )
    pin = _pin(name, table, ("linux", known[architecture]))
    assert pin.build is not None  # noqa: S101
    environ = (("GOOS", "linux"), *(_assignment(word) for word in data["go"]["hosts"][architecture].split()))
    here = this_machine() == ("linux", architecture)
    return replace(
        pin, platform="" if here else f"linux-{architecture}", build=replace(pin.build, environ=environ)
    )


def _assignment(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _pin(name: str, table: dict[str, Any], where: tuple[str, str]) -> Pin:
    release, build, version = table.pop("release", None), table.pop("build", None), table["version"]
    table.pop("host", None)  # the digests that hosts get: components/host/host_tool.py
    table.setdefault("oldest", version)
    return Pin(
        name=name,
        release=_release(dict(release), version, where) if release else None,
        build=_build(dict(build), version) if build else None,
        **table,
    )


def _build(table: dict[str, Any], version: str) -> Build:
    for key in ("module", "ldflags"):
        table[key] = table.get(key, "").format(version=version)
    return Build(**table)


def _release(table: dict[str, Any], version: str, where: tuple[str, str]) -> Release | None:
    system, machine = where
    words = {
        "version": table.setdefault("version", version),
        "os": table.pop("os", {}).get(system, system),
        "arch": table.pop("arch", {}).get(machine, machine),
    }
    digests = table.pop("sha256", None)
    if digests is not None:
        if f"{system}-{machine}" not in digests:
            return None  # without a digest it cannot be verified, so there is no official release for this platform
        table["sha256"] = digests[f"{system}-{machine}"]
    for key in ("archive", "sums", "signature"):
        table[key] = table.get(key, "").format(**words)
    return Release(**{**table, "members": tuple(table["members"]), "keys": tuple(table.get("keys", ()))})
