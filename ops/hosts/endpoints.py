"""Endpoints: where the operator reaches the hosts of a stack, according to its outputs, and with which key.

Stack files are not read: an address may be the end of a tunnel on this workstation (``door: ssm``), or known only after the machine was created.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.errors import LastcopyError
from ops.hosts.connection import SshEndpoint

RELAY = "relay"
_NEEDED = ("address", "port", "user", "hostKey")


@dataclass(frozen=True, kw_only=True)
class AdminKeys:
    """Files with the private keys, the same that `pulumi up` uses. ``common``: None if the SSH agent holds it. ``own``: by source, if it differs.

    ``jumps``: keys for the jump hosts, by the name of the host behind them. ``agent``: the agent's public keys to offer; empty means all.
    """

    common: Path | None
    own: Mapping[str, Path] = field(default_factory=dict)
    jumps: Mapping[str, Path] = field(default_factory=dict)
    agent: tuple[str, ...] = ()

    def of(self, host: str) -> Path | None:
        """The key file for one host."""
        return self.own.get(host, self.common)

    def of_jump_to(self, host: str) -> Path | None:
        """The key file for the jump host in front of it."""
        return self.jumps.get(host, self.common)


def read_admin_keys(config: Mapping[str, Any], folder: Path) -> AdminKeys:
    """The keys that the stack's settings name.

    A key that is in the settings themselves is written into ``folder``, which must be private and temporary.
    """
    admin = config.get("admin") or {}
    hosts = {str(source["name"]): source.get("host") or {} for source in config.get("sources") or []}
    own = {
        name: Path(file).expanduser() for name, host in hosts.items() if (file := host.get("privateKeyFile"))
    }
    hosts[RELAY] = (config.get("intermediate") or {}).get("existing") or {}
    jumps = {name: file for name, host in hosts.items() if (file := _jump_key_file(host, admin)) is not None}
    agent = tuple(map(str, admin.get("agentKeys") or ()))
    return AdminKeys(common=_common_key(admin, folder), own=own, jumps=jumps, agent=agent)


def _jump_key_file(host: Mapping[str, Any], admin: Mapping[str, Any]) -> Path | None:
    """The key of the host's own jump host, or of the admin's. The outputs say which jump host is used."""
    jump = host.get("jumpHost") or admin.get("jumpHost")
    named = jump.get("privateKeyFile") if isinstance(jump, Mapping) else None
    return Path(named).expanduser() if named else None


def _common_key(admin: Mapping[str, Any], folder: Path) -> Path | None:
    if named := admin.get("privateKeyFile"):
        return Path(named).expanduser()
    text = admin.get("privateKey")
    if not text:
        return None
    file = folder / "admin-key"
    file.touch(0o600)
    file.write_text(text if text.endswith("\n") else f"{text}\n")
    return file


def read_endpoints(outputs: Mapping[str, Any], sources: Sequence[str], keys: AdminKeys) -> list[SshEndpoint]:
    """The endpoints of the relay and these sources. Raises LastcopyError if an older program wrote the outputs, without the hosts' addresses."""
    described = {RELAY: outputs.get(RELAY, {}), **{name: outputs["sources"][name] for name in sources}}
    silent = [name for name, one in described.items() if any(one.get(key) is None for key in _NEEDED)]
    if silent:
        raise LastcopyError(
            f"the stack's outputs do not say how to reach {', '.join(silent)}: they were written by an older program",
            where="outputs relay and sources",
            fix="pulumi up",
        )
    return [_endpoint(name, one, keys) for name, one in described.items()]


def _endpoint(name: str, described: Mapping[str, Any], keys: AdminKeys) -> SshEndpoint:
    jump = described.get("jumpHost")
    through = None if jump is None else _dialled(f"jump-{name}", jump, keys.of_jump_to(name), keys)
    return _dialled(name, described, keys.of(name), keys, through)


def _dialled(
    name: str,
    described: Mapping[str, Any],
    key_file: Path | None,
    keys: AdminKeys,
    jump: SshEndpoint | None = None,
) -> SshEndpoint:
    return SshEndpoint(
        name=name, address=str(described["address"]), port=int(described["port"]), user=str(described["user"]), host_key=str(described["hostKey"]),
        key_file=key_file, agent_keys=() if key_file else keys.agent, jump=jump,
    )  # fmt: skip


def read_sandbox_endpoints(
    directory: Path, outputs: Mapping[str, Any], sources: Sequence[str]
) -> list[SshEndpoint]:
    """The endpoints of a local stack, whose machines are below ``directory``."""
    from sandbox import Sandbox
    from sandbox.image import ADMIN

    box = Sandbox(directory)
    found = []
    for name in (RELAY, *sources):
        address, port = box.driver.dial(box.machine(name))
        key = outputs[RELAY]["hostKey"] if name == RELAY else outputs["sources"][name]["hostKey"]
        found.append(
            SshEndpoint(
                name=name, address=address, port=port, user=ADMIN, host_key=key, key_file=box.admin_key
            )
        )
    return found
