"""Connections to machines: address, pinned host key, and jump host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
from pulumi_command import remote

from components.host.private_key import shorten

_DIAL_SECONDS = 10
_DIALS = 4


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A jump host: the connection to another host goes through it. Its own host key is pinned as well (A1).

    It forwards bytes, but can neither read nor change them: the inner connection checks the other host's key end to end.
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
            private_key=_short_secret(self.private_key),
            dial_error_limit=_DIALS,
            per_dial_timeout=_DIAL_SECONDS,
        )

    def summary(self) -> dict[str, pulumi.Input[str] | pulumi.Input[int]]:
        """The jump host's part of `Host.summary`."""
        return {"address": self.address, "port": self.port, "user": self.user, "hostKey": self.host_key}

    def dial(self) -> pulumi.Output[dict[str, Any]]:
        """The jump host's part of `Host.dial`."""
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
    """A machine that is reached by SSH and whose host key is known before the first connection (A1).

    ``ready`` lists the resources that must exist before a connection. ``machine`` is the resource that the host disappears with, so that a
    destroy does not connect to a host that is gone. ``incarnation`` identifies the machine behind the address, if another one can take its
    place: every step is created again on the next machine. ``instance_metadata``: whether root may reach the cloud's metadata service
    (169.254.169.254); the sources' processes never may. ``fetches``: whether the host gets tools and packages from the Internet itself. If not,
    tools are sent from this workstation, and a step that needs a missing package is refused. ``jump``: the jump host in between.
    ``dials``: how often a refused or lost connection is tried, with pauses of up to 5 s. ``store``: where the host keeps the
    programs of its steps; None: each step contains its programs.
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
        """Where this workstation reaches the machine, as the outputs ``relay`` and ``sources`` tell ``ops``. It contains no secret."""
        jump = None if self.jump is None else self.jump.summary()
        told = {"address": self.address, "port": self.port, "user": self.user, "hostKey": self.host_key}
        return {**told, "jumpHost": jump}

    def connection(self) -> remote.ConnectionArgs:
        """The connection for the command plugin. It is typed, because the error about an unknown field in a dict would print the private key."""
        return remote.ConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
            private_key=_short_secret(self.private_key),
            dial_error_limit=self.dials,
            per_dial_timeout=_DIAL_SECONDS,
            proxy=None if self.jump is None else self.jump.connection(),
        )

    def dial(self) -> pulumi.Output[dict[str, Any]]:
        """The connection as plain values, for a program on this workstation that connects to the host itself. The whole is a secret."""
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


def _short_secret(key: pulumi.Input[str] | None) -> pulumi.Output[str] | None:
    return None if key is None else pulumi.Output.secret(key).apply(shorten)
