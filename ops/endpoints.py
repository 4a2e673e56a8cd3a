"""Endpoints: where the operator dials the hosts of a stack, as its outputs tell it, and with which key.

Nothing is read from stack files: an address may be a tunnel's end on this workstation (``door: ssm``), or known only after the machine was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.hosts import Door
from ops.recover.errors import RecoverError

RELAY = "relay"
_NEEDED = ("address", "port", "user", "hostKey")


@dataclass(frozen=True, kw_only=True)
class AdminKeys:
    """Files with the private keys that `pulumi up` uses, too. ``common`` None: the SSH agent; ``own``: by source, where it is another one."""

    common: Path | None
    own: Mapping[str, Path] = field(default_factory=dict)

    def of(self, host: str) -> Path | None:
        """The file for one host."""
        return self.own.get(host, self.common)


def admin_keys(config: Mapping[str, Any], folder: Path) -> AdminKeys:
    """As the stack's settings name them; a key that is in the settings themselves is put into ``folder``, which must be private and go away."""
    admin = config.get("admin") or {}
    own = {
        str(source["name"]): Path(file).expanduser()
        for source in config.get("sources") or []
        if (file := (source.get("host") or {}).get("privateKeyFile"))
    }
    if named := admin.get("privateKeyFile"):
        return AdminKeys(common=Path(named).expanduser(), own=own)
    text = admin.get("privateKey")
    if not text:
        return AdminKeys(common=None, own=own)
    file = folder / "admin-key"
    file.touch(0o600)
    file.write_text(text if text.endswith("\n") else f"{text}\n")
    return AdminKeys(common=file, own=own)


def endpoints(outputs: Mapping[str, Any], sources: Sequence[str], keys: AdminKeys) -> list[Door]:
    """The relay and these sources. Error: the outputs are of a run by an older program, which did not tell where hosts are."""
    told = {RELAY: outputs.get(RELAY, {}), **{name: outputs["sources"][name] for name in sources}}
    silent = [name for name, one in told.items() if any(one.get(key) is None for key in _NEEDED)]
    if silent:
        raise RecoverError(
            f"the stack does not tell where it reaches {', '.join(silent)}: it was last run by an older program",
            where="outputs relay and sources",
            fix="pulumi up",
        )
    return [
        Door(
            name=name, address=str(one["address"]), port=int(one["port"]), user=str(one["user"]), host_key=str(one["hostKey"]),
            key_file=keys.of(name),
        )
        for name, one in told.items()
    ]  # fmt: skip
