"""The operator's own hosts, as the stack's settings describe them."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pydantic import SecretStr

from components.host.connection import Host, Jump
from components.settings import Admin, ExistingHost, JumpHost, ManagedHost, Settings


def configured_relay(settings: Settings, host: ExistingHost) -> Host:
    """The relay on an existing machine, with the connection of the admin."""
    return _configured_host("relay", settings, host, settings.admin.user, private_key(settings.admin))


def configured_source(settings: Settings, name: str, host: ManagedHost) -> Host:
    """A source on an existing machine, with the user and key of its own settings or of the admin."""
    return _configured_host(
        name, settings, host, host.user, private_key(settings.admin, host.private_key_file)
    )


def _configured_host(
    name: str,
    settings: Settings,
    host: ExistingHost | ManagedHost,
    user: str,
    key: pulumi.Output[str] | None,
) -> Host:
    jump_host = settings.jump_host(host)
    return Host(
        name=name,
        address=host.address,
        port=host.port,
        user=user,
        host_key=host.host_key,
        private_key=key,
        jump=None if jump_host is None else jump(jump_host, settings.admin),
        # Only one try through a jump host: its kernel waits for two minutes for a host that does not answer, and the plugin repeats a failed
        # handshake on the same broken connection, which hides that the host key was wrong (A1).
        # on the same broken connection, which hides that the host key was another one (A1).
        dials=0 if jump_host is not None else Host.dials,
        fetches=host.tools_from == "makers",
    )


def jump(host: JumpHost, admin: Admin) -> Jump:
    """The jump host, with the user and key of its own settings or of the admin."""
    return Jump(
        address=host.address,
        port=host.port,
        user=host.user or admin.user,
        host_key=host.host_key,
        private_key=private_key(admin, host.private_key_file),
    )


def private_key(admin: Admin, override: str | None = None) -> pulumi.Output[str] | None:
    """The admin's private key as a secret, or None if the SSH agent holds it. ``override`` is the file of another key."""
    path = override or admin.private_key_file
    if path is not None:
        return pulumi.Output.secret(Path(path).expanduser().read_text())
    if admin.private_key is not None:
        return secret(admin.private_key)
    return None


def secret(value: SecretStr) -> pulumi.Output[str]:
    """Turn a secret of the settings into a Pulumi secret. Nothing else unwraps it."""
    return pulumi.Output.secret(value.get_secret_value())
