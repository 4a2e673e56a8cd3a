"""Settings of machines and of the operator's way into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, StrictBool
from pydantic_core import PydanticCustomError

from components.settings.jump import JumpHost, JumpHostOrNone
from components.settings.keys import (
    HOW_TO_MAKE_A_KEY,
    HOW_TO_PIN,
    PUBLIC_KEY_EXAMPLE,
    AdminKey,
    PrivateKey,
    PublicKey,
)
from components.settings.model import Model
from components.settings.people import Person, rules_of_people
from components.settings.problems import SECRET, Finding, Fix, finding, refuse
from components.settings.values import (
    Account,
    Address,
    HostPort,
    KeyFile,
    Port,
    ReachedAt,
    SandboxRange,
    Server,
    host_port,
    is_loopback,
)

WAYS_IN = ("privateKeyFile", "privateKey", "agent")
WAY_IN = f"exactly one of: {', '.join(WAYS_IN)}"
_HOST_KEY = "The host's ed25519 public key: one line, ssh-ed25519 AAAA…. Pinned from the first connection."


class Admin(Model):
    """How the operator reaches the relay and the managed sources. The sandbox brings its own user and key."""

    EXAMPLE: ClassVar[object] = {"user": "admin", "privateKeyFile": "~/.ssh/backup-admin"}

    user: Account = Field(
        "admin", description="Unix account that may become root by sudo without a password."
    )
    private_key_file: KeyFile | None = Field(
        None,
        description="File on this workstation with the unencrypted private key; begins with / or ~/.",
        examples=["~/.ssh/backup-admin"],
    )
    private_key: PrivateKey | None = Field(
        None,
        description="Secret: the unencrypted private key itself, in PEM form, where there is no file (CI).",
        examples=[SECRET],
        json_schema_extra={"file": "~/.ssh/backup-admin"},
    )
    agent: StrictBool = Field(
        False,
        description="true: the ssh agent at SSH_AUTH_SOCK holds the key; for one with a passphrase.",
    )
    agent_keys: tuple[AdminKey, ...] = Field(
        (),
        description="Public keys of the agent that are meant, with agent only. Default: all are offered, of which sshd takes"
        " six; see docs/hosts.md.",
        examples=[[PUBLIC_KEY_EXAMPLE]],
    )
    jump_host: JumpHost | None = Field(
        None,
        description="Jump host for relay and managed sources, where they name none of their own. Not for loopback"
        " addresses, which are a tunnel's end on this workstation.",
    )
    second_factor: Literal["none", "fido2", "totp"] = Field(
        "none",
        description="What people need besides a key: none, fido2 (a verified security key) or totp.",
    )
    people: tuple[Person, ...] = Field(
        (),
        description="Operators who may open a tunnel to the relay; needed with a second factor.",
        examples=[[Person.EXAMPLE]],
    )

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        chosen = [way for way in WAYS_IN if raw.get(way) not in (None, False)]
        if len(chosen) > 1:
            fix = Fix(say="keep one, for example:", remove=True, at=(chosen[-1],))
            yield (), refuse(f"has {' and '.join(chosen)}, which exclude each other", allowed=WAY_IN, fix=fix)
        if raw.get("agentKeys") not in (None, [], ()) and raw.get("agent") is not True:
            what, allowed = "is not used without agent: true", "with agent: true only"
            yield finding(("agentKeys",), what, allowed, Fix(remove=True))
        yield from rules_of_people(raw)


ToolsFrom = Literal["makers", "workstation"]


def _tools_from(tool: str) -> Any:
    return Field(
        "makers",
        description=f"Where {tool} comes from: makers, the host fetches their signed release; or workstation, this workstation does and hands"
        " it over by SSH, for a host without a way to the Internet. That host fetches nothing itself, no packages either.",
    )


def _debian() -> Any:
    return Field(13, description="The machine's release of Debian: 12 or 13.")


class ExistingHost(Model):
    """A Debian machine of your own that becomes the relay."""

    EXAMPLE: ClassVar[object] = {"address": "relay.example.com", "hostKey": PUBLIC_KEY_EXAMPLE}

    address: Address = Field(
        description="Host name or IP address that this workstation dials.", examples=["relay.example.com"]
    )
    port: Port = Field(22, description="Port that this workstation dials, 1 to 65535.")
    ssh_port: Port = Field(
        22,
        description="Port of the relay's own sshd, 1 to 65535; must be said where port is not 22. A tunnel or a"
        " port mapping may show it as another one.",
    )
    host_key: PublicKey = Field(
        description=_HOST_KEY, examples=[PUBLIC_KEY_EXAMPLE], json_schema_extra={"how": HOW_TO_PIN}
    )
    jump_host: JumpHostOrNone | None = Field(
        None,
        description="Jump host that leads to the relay; none: dialled directly. Default: lastcopy:admin.jumpHost.",
        examples=[JumpHost.EXAMPLE],
    )
    sources_reach_it_at: ReachedAt | None = Field(
        None,
        description="address or address:port that the sources dial, where it differs from the operator's.",
        examples=["10.0.0.5:22"],
    )
    tools_from: ToolsFrom = _tools_from("rclone")

    directory: tuple[Server, ...] = Field(
        (),
        description="IP:port of each server of the directory (LDAP, Kerberos) that the relay's admin account comes from; the"
        " firewall keeps them reachable for root and sssd.",
        examples=[["10.0.0.3:636"]],
    )
    vpn_ports: tuple[Port, ...] = Field(
        (),
        description="UDP ports of the relay on which a VPN ends that the operator or the sources come through, such as"
        " WireGuard's ListenPort; the firewall lets the packets that carry it pass.",
        examples=[[51820]],
    )

    @classmethod
    def prepare(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without a port, the sources dial sshd's own port."""
        seen, port = raw.get("sourcesReachItAt"), raw.get("sshPort", 22)
        if not isinstance(seen, str) or type(port) is not int:
            return raw
        try:
            return {**raw, "sourcesReachItAt": host_port(seen, default=port)}
        except PydanticCustomError:
            return raw  # the field's own rule says what is wrong

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """The port decides what sshd and firewall are set to: a guess would lock the operator out."""
        address, port = raw.get("address"), raw.get("port", 22)
        local = is_loopback(address)
        if type(port) is int and 1 <= port <= 65535 and port != 22 and "sshPort" not in raw:
            what = f"is missing: port {port} is dialled, which a tunnel or a port mapping may lead to another one"
            say = "the port on which the relay's sshd itself listens, not the tunnel's:"
            yield finding(("sshPort",), what, "sshd's own port", Fix(say=say, value=22 if local else port))
        if local and "sourcesReachItAt" not in raw:
            what = "is missing: the relay's address is this workstation's end of a tunnel, which no source can dial"
            yield finding(("sourcesReachItAt",), what, "address or address:port that the sources dial")

    def as_sources_see_it(self) -> HostPort:
        """Where a source dials the relay."""
        return self.sources_reach_it_at or HostPort(self.address, self.port)


class SandboxVm(Model):
    """A relay that `sandbox/` makes on this workstation."""

    EXAMPLE: ClassVar[object] = {}

    debian: Literal[12, 13] = _debian()
    tools_from: ToolsFrom = _tools_from("rclone")


class ManagedHost(Model):
    """A source that the program sets up itself, by the operator's SSH."""

    EXAMPLE: ClassVar[object] = {"address": "web1.example.com", "hostKey": PUBLIC_KEY_EXAMPLE}

    address: Address = Field(
        description="Host name or IP address that this workstation dials.", examples=["web1.example.com"]
    )
    port: Port = Field(22, description="Port of its SSH server, 1 to 65535.")
    user: Account = Field(
        "admin", description="Unix account that may become root by sudo. Default: the user of lastcopy:admin."
    )
    host_key: PublicKey = Field(
        description=_HOST_KEY, examples=[PUBLIC_KEY_EXAMPLE], json_schema_extra={"how": HOW_TO_PIN}
    )
    private_key_file: KeyFile | None = Field(
        None,
        description="File with the private key for this host, where it is not the one of lastcopy:admin.",
        examples=["~/.ssh/backup-web1"],
    )
    jump_host: JumpHostOrNone | None = Field(
        None,
        description="Jump host that leads to this source; none: dialled directly. Default: lastcopy:admin.jumpHost.",
        examples=[JumpHost.EXAMPLE],
    )
    tools_from: ToolsFrom = _tools_from("restic")


class SandboxSource(Model):
    """A source that `sandbox/` makes on this workstation."""

    EXAMPLE: ClassVar[object] = {}

    debian: Literal[12, 13] = _debian()
    tools_from: ToolsFrom = _tools_from("restic")


class UnmanagedSource(Model):
    """A source that the operator cannot reach: the program hands out an enrolment script for its root."""

    public_key: PublicKey = Field(
        description="Public key of a source that is not reached from here: one line, ssh-ed25519 AAAA….",
        examples=[PUBLIC_KEY_EXAMPLE],
        json_schema_extra={"how": HOW_TO_MAKE_A_KEY},
    )


class Sandbox(Model):
    """The local machines' network and driver. Only with sandbox members."""

    network: SandboxRange = Field(
        "198.51.100.0/24",
        description="IPv4 network for the sandbox's machines, /16 to /27, private, for tests or for documentation.",
    )
    driver: Literal["auto", "nspawn", "podman", "docker"] = Field(
        "auto", description="What runs the machines: auto (what is there), nspawn, podman or docker."
    )
