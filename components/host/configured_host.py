"""A host of the operator's own, as the stack's settings describe it."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pydantic import SecretStr

from components.host.connection import Host, Jump
from components.settings import Admin, ExistingHost, JumpHost, ManagedHost, Settings


def configured_relay(settings: Settings, host: ExistingHost) -> Host:
    """The relay on an existing machine, reached as the admin's user."""
    return _configured_host("relay", settings, host, settings.admin.user, private_key(settings.admin))


def configured_source(settings: Settings, name: str, host: ManagedHost) -> Host:
    """A source, reached as the user and with the key of its own settings, or of the admin's."""
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
        # Once from a jump host: its kernel tries for two minutes where nothing answers, and the plugin repeats a failed handshake
        # on the same broken connection, which hides that the host key was another one (A1).
        dials=0 if jump_host is not None else Host.dials,
        fetches=host.tools_from == "makers",
    )


def jump(host: JumpHost, admin: Admin) -> Jump:
    """The jump host, reached as its own user and with its own key, or with the admin's."""
    return Jump(
        address=host.address,
        port=host.port,
        user=host.user or admin.user,
        host_key=host.host_key,
        private_key=private_key(admin, host.private_key_file),
    )


def private_key(admin: Admin, override: str | None = None) -> pulumi.Output[str] | None:
    """The admin's private key as a secret, or None where the SSH agent holds it; ``override``: another key's file."""
    path = override or admin.private_key_file
    if path is not None:
        return pulumi.Output.secret(Path(path).expanduser().read_text())
    if admin.private_key is not None:
        return secret(admin.private_key)
    return None


def secret(value: SecretStr) -> pulumi.Output[str]:
    """The one way out of the settings for a secret: it remains one from here on."""
    return pulumi.Output.secret(value.get_secret_value())
