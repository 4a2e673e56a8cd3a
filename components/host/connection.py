"""How a machine is reached: its address, its pinned host key, and the jump host on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
from pulumi_command import remote

_DIAL_SECONDS = 10
_DIALS = 4


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A jump host: another host is dialled from it, inside its connection. Its own host key is pinned as well (A1).

    It forwards bytes and can read or change none of them: the inner connection checks the other host's key end to end.
    """

    address: pulumi.Input[str]
    host_key: pulumi.Input[str]
    user: pulumi.Input[str]
    port: pulumi.Input[int] = 22
    private_key: pulumi.Input[str] | None = None

    def connection(self) -> remote.ProxyConnectionArgs:
        return remote.ProxyConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
            private_key=_secret(self.private_key),
            dial_error_limit=_DIALS,
            per_dial_timeout=_DIAL_SECONDS,
        )

    def summary(self) -> dict[str, pulumi.Input[str] | pulumi.Input[int]]:
        """As `Host.summary`."""
        return {"address": self.address, "port": self.port, "user": self.user, "hostKey": self.host_key}

    def dial(self) -> pulumi.Output[dict[str, Any]]:
        """The connection as plain values, see `Host.dial`."""
        return pulumi.Output.all(
            address=self.address,
            port=self.port,
            user=self.user,
            hostKey=self.host_key,
            privateKey=self.private_key,
        )


@dataclass(frozen=True, kw_only=True)
class ProgramStore:
    """The programs that a host has: the resource that sends them, and the SHA-256 of each."""

    sender: pulumi.Resource
    digests: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine reached by SSH whose host key is known before the first dial (A1).

    ``ready`` are the resources that must exist before it can be dialled; ``machine`` is the one with which it disappears, so that a
    destroy does not dial a host that is gone. ``incarnation`` names the one machine behind the address, where another may take its place:
    every step is made anew on the next one. ``instance_metadata``: whether root may ask the cloud about the machine (169.254.169.254);
    the sources' processes never may. ``fetches``: whether the host gets tools and packages from the Internet by itself; where not, the
    tools are handed over from here, and a step that misses a package is refused. ``jump``: the jump host from which it is dialled.
    ``dials``: how often a refused or lost dial is repeated, with waits of up to 5 s in between. ``store``: where the host keeps the
    programs of its steps; None: each step brings its own.
    """

    name: str
    address: pulumi.Input[str]
    host_key: pulumi.Input[str]
    user: pulumi.Input[str]
    port: pulumi.Input[int] = 22
    private_key: pulumi.Input[str] | None = None
    jump: Jump | None = None
    ready: Sequence[pulumi.Resource] = field(default_factory=tuple)
    machine: pulumi.Resource | None = None
    incarnation: pulumi.Input[str] | None = None
    instance_metadata: Literal["open", "closed"] = "open"
    fetches: bool = True
    dials: int = _DIALS
    store: ProgramStore | None = None

    def summary(self) -> dict[str, object]:
        """Where this workstation dials the machine, for ``ops``: the outputs ``relay`` and ``sources``. Nothing is secret."""
        jump = None if self.jump is None else self.jump.summary()
        told = {"address": self.address, "port": self.port, "user": self.user, "hostKey": self.host_key}
        return {**told, "jumpHost": jump}

    def connection(self) -> remote.ConnectionArgs:
        """Typed on purpose: an unknown field in a loose dict would print the private key in the error."""
        return remote.ConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
            private_key=_secret(self.private_key),
            dial_error_limit=self.dials,
            per_dial_timeout=_DIAL_SECONDS,
            proxy=None if self.jump is None else self.jump.connection(),
        )

    def dial(self) -> pulumi.Output[dict[str, Any]]:
        """The connection as plain values, for a program on this workstation that dials the host itself; as a whole a secret."""
        known: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            name=self.name,
            address=self.address,
            port=self.port,
            user=self.user,
            hostKey=self.host_key,
            privateKey=self.private_key,
            jump=None if self.jump is None else self.jump.dial(),
        )
        return pulumi.Output.secret(known)


def _secret(value: pulumi.Input[str] | None) -> pulumi.Output[str] | None:
    return None if value is None else pulumi.Output.secret(value)
