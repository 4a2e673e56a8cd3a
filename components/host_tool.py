"""HostTool: a host runs rclone or restic at or above its floor, or the step refuses."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pulumi

from components.host_step import Host, HostStep

_PINS = Path(__file__).parent.parent / "toolchain" / "versions.toml"

# The relay's floor is not only a matter of taste; each of these was seen or read (threat row A4).
_ADVISORIES = {
    "rclone": "GHSA-45pq-889g-fcgh (before 1.74.5, paths with .. leave the served folder) and rclone PR 9925"
    " (before 1.76.0, append-only can be raced and a failed look-up lets an overwrite through)",
    "restic": "restic before 0.19.1 was never tried against this relay; its handling of append-only repositories differs",
}
# On hosts without unzip and python, rclone's signed .deb is what the base system can unpack.
_ARCHIVES = {"rclone": "https://downloads.rclone.org/v{version}/rclone-v{version}-linux-{arch}.deb"}


@cache
def pins() -> dict[str, Any]:
    """toolchain/versions.toml: the one place where versions, addresses and fingerprints stand."""
    return tomllib.loads(_PINS.read_text())


def floor(tool: str) -> str:
    pin = pins()[tool]
    return str(pin.get("oldest", pin["version"]))


def release_values(tool: str) -> dict[str, str]:
    """What the host needs to know to get and verify the official release; ``{arch}`` is filled in there."""
    pin = pins()[tool]
    release = pin["release"]
    version = str(pin["version"])

    def url(text: str) -> str:
        return text.replace("{version}", version).replace("{os}", "linux")

    return {
        "TOOL": tool,
        "FLOOR": floor(tool),
        "VERSION": version,
        "WHY": _ADVISORIES[tool],
        "ARCHIVE": url(_ARCHIVES.get(tool, release["archive"])),
        "SUMS": url(release["sums"]),
        "SIGNATURE": url(release["signature"]),
        "KEYS": " ".join(release["keys"]),
        "FINGERPRINT": release["fingerprint"],
    }


@dataclass(frozen=True, kw_only=True)
class HostToolArgs:
    host: Host
    tool: Literal["rclone", "restic"]
    after: Sequence[pulumi.Resource] = ()


class HostTool(pulumi.ComponentResource):
    """The tool on this host is not known to be broken: at or above its floor, or refused with the advisory's id (A4).

    Pulumi type ``lastcopy:host:HostTool``; child ``<name>-install`` (HostStep host_tool). A fitting version that is already there is
    used; else the official release is fetched and must carry the makers' signature with the fingerprint pinned in
    toolchain/versions.toml. Outputs: ``version``, ``path``, ``ready``.
    Does not protect against a fitting version number on a binary that root on the host put there.
    """

    version: pulumi.Output[str]
    path: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: HostToolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lastcopy:host:HostTool", name, {"tool": args.tool}, opts)
        step = HostStep(
            f"{name}-install",
            host=args.host,
            script="host_tool",
            values=dict(release_values(args.tool)),
            seconds=900,
            after=args.after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = (step,)
        self.version = step.facts.apply(lambda facts: facts["version"])
        self.path = step.facts.apply(lambda facts: facts["path"])
        self.register_outputs({"version": self.version, "path": self.path})
