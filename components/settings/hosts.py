"""Settings of the relay's and the sources' machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.settings.admin import DEFAULT_USER
from components.settings.jump import JumpHost, JumpHostOrNone
from components.settings.model import Model
from components.settings.problems import Finding, Fix
from components.settings.reference import Hint
from components.settings.ssh_keys import HOW_TO_MAKE_A_KEY, HOW_TO_PIN, PUBLIC_KEY_EXAMPLE, PublicKey
from components.settings.values import (
    SANDBOX_NETWORK,
    SSH_PORT,
    Account,
    Address,
    HostPort,
    KeyFile,
    Port,
    ReachedAt,
    SandboxRange,
    Server,
    is_loopback,
    parse_host_port,
)

_HOST_KEY = "The host's ed25519 public key: one line, ssh-ed25519 AAAA…. Pinned from the first connection."


ToolsFrom = Literal["makers", "workstation"]


def _tools_from(tool: str) -> Any:
    return Field(
        "makers",
        description=f"Where {tool} comes from: makers, the host fetches their signed release; or workstation, this workstation fetches it"
        " and sends it by SSH, for a host without Internet access. Such a host fetches nothing itself, not even packages.",
    )


def _debian() -> Any:
    return Field(13, description="The machine's release of Debian: 12 or 13.")


class ExistingHost(Model):
    """An existing Debian machine that becomes the relay."""

    EXAMPLE: ClassVar[object] = {"address": "relay.example.com", "hostKey": PUBLIC_KEY_EXAMPLE}

    address: Address = Field(
        description="Host name or IP address at which this workstation reaches it.",
        examples=["relay.example.com"],
    )
    port: Port = Field(SSH_PORT, description="Port at which this workstation reaches it, 1 to 65535.")
    ssh_port: Port = Field(
        SSH_PORT,
        description="Port of the relay's own sshd, 1 to 65535; required if port is not 22, because port may then be "
        "that of a tunnel or a port mapping.",
    )
    host_key: Annotated[PublicKey, Hint(how=HOW_TO_PIN)] = Field(
        description=_HOST_KEY, examples=[PUBLIC_KEY_EXAMPLE]
    )
    jump_host: JumpHostOrNone | None = Field(
        None,
        description="Jump host for the relay; none: a direct connection. Default: lastcopy:admin.jumpHost.",
        examples=[JumpHost.EXAMPLE],
    )
    sources_reach_it_at: ReachedAt | None = Field(
        None,
        description="address or address:port at which the sources reach it, if different from the operator's.",
        examples=["10.0.0.5:22"],
    )
    tools_from: ToolsFrom = _tools_from("rclone")

    directory: tuple[Server, ...] = Field(
        (),
        description="IP:port of each server of the directory (LDAP, Kerberos) that the relay's admin account comes "
        "from; the firewall lets root and sssd reach them.",
        examples=[["10.0.0.3:636"]],
    )
    vpn_ports: tuple[Port, ...] = Field(
        (),
        description="UDP ports of a VPN that ends on the relay and that the operator or the sources come through, "
        "such as WireGuard's ListenPort; the firewall opens them.",
        examples=[[51820]],
    )

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._require_sshd_port()
        yield self._require_address_for_sources()

    def _require_sshd_port(self) -> Iterator[Finding]:
        """The port determines the configuration of sshd and of the firewall: a wrong guess would lock the operator out."""
        if self.port != SSH_PORT and "ssh_port" not in self.model_fields_set:
            what = f"is missing: port {self.port} is dialled, which a tunnel or a port mapping may lead to another one"
            say = "the port on which the relay's sshd itself listens, not the tunnel's:"
            value = SSH_PORT if is_loopback(self.address) else self.port
            yield Finding(("sshPort",), what, "sshd's own port", Fix(say=say, value=value))

    def _require_address_for_sources(self) -> Iterator[Finding]:
        if is_loopback(self.address) and "sources_reach_it_at" not in self.model_fields_set:
            what = "is missing: the relay's address is this workstation's end of a tunnel, which no source can dial"
            yield Finding(("sourcesReachItAt",), what, "address or address:port that the sources dial")

    def as_sources_see_it(self) -> HostPort:
        """The relay's address and port for sources."""
        if self.sources_reach_it_at is None:
            return HostPort(self.address, self.port)
        return parse_host_port(self.sources_reach_it_at, default=self.ssh_port)


class SandboxVm(Model):
    """A relay that `sandbox/` makes on this workstation."""

    EXAMPLE: ClassVar[object] = {}

    debian: Literal[12, 13] = _debian()
    tools_from: ToolsFrom = _tools_from("rclone")


class ManagedHost(Model):
    """A source that the program sets up itself, by the operator's SSH."""

    EXAMPLE: ClassVar[object] = {"address": "web1.example.com", "hostKey": PUBLIC_KEY_EXAMPLE}

    address: Address = Field(
        description="Host name or IP address at which this workstation reaches it.",
        examples=["web1.example.com"],
    )
    port: Port = Field(SSH_PORT, description="Port of its SSH server, 1 to 65535.")
    user: Account = Field(
        DEFAULT_USER,
        description="Unix account that may become root by sudo. Default: the user of lastcopy:admin.",
    )
    host_key: Annotated[PublicKey, Hint(how=HOW_TO_PIN)] = Field(
        description=_HOST_KEY, examples=[PUBLIC_KEY_EXAMPLE]
    )
    private_key_file: KeyFile | None = Field(
        None,
        description="File with the private key for this host, if it is not that of lastcopy:admin.",
        examples=["~/.ssh/backup-web1"],
    )
    jump_host: JumpHostOrNone | None = Field(
        None,
        description="Jump host for this source; none: a direct connection. Default: lastcopy:admin.jumpHost.",
        examples=[JumpHost.EXAMPLE],
    )
    tools_from: ToolsFrom = _tools_from("restic")


class SandboxSource(Model):
    """A source that `sandbox/` makes on this workstation."""

    EXAMPLE: ClassVar[object] = {}

    debian: Literal[12, 13] = _debian()
    tools_from: ToolsFrom = _tools_from("restic")


class UnmanagedSource(Model):
    """A source that the operator cannot reach by SSH: the program makes an enrolment script for its root."""

    public_key: Annotated[PublicKey, Hint(how=HOW_TO_MAKE_A_KEY)] = Field(
        description="Public key of a source that is enrolled by script, not by SSH: one line, ssh-ed25519 AAAA….",
        examples=[PUBLIC_KEY_EXAMPLE],
    )


class SandboxSettings(Model):
    """The network and driver of the local machines. Only with sandbox members."""

    network: SandboxRange = Field(
        SANDBOX_NETWORK,
        description="IPv4 network for the sandbox's machines, /16 to /27: private, or reserved for tests or documentation.",
    )
    driver: Literal["auto", "nspawn", "podman"] = Field(
        "auto", description="What runs the machines: auto (whichever is installed), nspawn or podman."
    )
