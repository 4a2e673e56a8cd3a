"""The releases of rclone and restic that hosts run: minimum versions, addresses and fingerprints from toolchain/versions.toml. Needs no Pulumi."""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any

from toolchain.checkout import ROOT

_PINS = ROOT / "toolchain" / "versions.toml"

# Why older versions are refused (threat row A4).
_ADVISORIES = {
    "rclone": "GHSA-45pq-889g-fcgh (before 1.74.5, paths with .. leave the served folder) and rclone PR 9925"
    " (before 1.76.0, append-only can be raced and a failed look-up lets an overwrite through)",
    "restic": "restic before 0.19.1 was never tried against this relay; its handling of append-only repositories differs",
}


@cache
def pins() -> dict[str, Any]:
    """toolchain/versions.toml, the only place for versions, addresses and fingerprints."""
    return tomllib.loads(_PINS.read_text())


def floor(tool: str) -> str:
    pin = pins()[tool]
    return str(pin.get("oldest", pin["version"]))


def release_values(tool: str, *, fetches: bool = True) -> dict[str, str]:
    """What the host needs to know to fetch and verify the official release; it fills in ``{arch}`` itself.

    ``fetches``: whether the host may use the Internet at all.
    """
    pin = pins()[tool]
    release, host = pin["release"], pin["host"]
    version = str(pin["version"])

    def url(text: str) -> str:
        return text.replace("{version}", version).replace("{os}", "linux")

    return {
        "TOOL": tool,
        "FLOOR": floor(tool),
        "VERSION": version,
        "WHY": _ADVISORIES[tool],
        "ARCHITECTURES": "".join(f"{debian} {makers}\n" for debian, makers in host["arch"].items()),
        "FREE_MIB": str(host["free_mib"]),
        "ARCHIVE": url(host.get("archive", release["archive"])),
        "SUMS": url(release["sums"]),
        "SIGNATURE": url(release["signature"]),
        "KEYS": " ".join(release["keys"]),
        "FINGERPRINT": release["fingerprint"],
        **({} if fetches else {"FETCHES": "no"}),
    }
