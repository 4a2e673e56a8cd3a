"""Settings of jump hosts: machines through which the operator reaches hosts that this workstation cannot connect to directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo

from components.settings.model import Model
from components.settings.problems import Fix, refuse
from components.settings.reference import Hint
from components.settings.ssh_keys import HOW_TO_PIN, PUBLIC_KEY_EXAMPLE, PublicKey
from components.settings.values import SSH_PORT, Account, Address, KeyFile, Port, is_loopback

NONE: Literal["none"] = "none"


class JumpHost(Model):
    """A host through which another host is reached. Its sshd must allow TCP forwarding; it sees neither content nor keys."""

    EXAMPLE: ClassVar[object] = {"address": "jump.example.com", "hostKey": PUBLIC_KEY_EXAMPLE}

    address: Address = Field(
        description="Host name or IP address at which this workstation reaches it.",
        examples=["jump.example.com"],
    )
    port: Port = Field(SSH_PORT, description="Port of its SSH server, 1 to 65535.")
    user: Account | None = Field(
        None,
        description="Unix account there; needs no sudo. Default: the user of lastcopy:admin.",
        examples=["admin"],
    )
    host_key: Annotated[PublicKey, Hint(how=HOW_TO_PIN)] = Field(
        description="The jump host's own ed25519 public key: one line, ssh-ed25519 AAAA…. Pinned as well.",
        examples=[PUBLIC_KEY_EXAMPLE],
    )
    private_key_file: KeyFile | None = Field(
        None,
        description="File with the private key for the jump host, if it is not that of lastcopy:admin.",
        examples=["~/.ssh/backup-jump"],
    )


def _jump_host_or_none(raw: object, info: ValidationInfo) -> JumpHost | Literal["none"]:
    if raw == NONE:
        return NONE
    if isinstance(raw, JumpHost):
        return raw
    if not isinstance(raw, Mapping):
        raise refuse(
            "is neither a jump host nor none",
            allowed="a map with address and hostKey; or none: dialled directly whatever lastcopy:admin.jumpHost says",
            fix=Fix(value=NONE),
        )
    return JumpHost.model_validate(raw, context=info.context)


JumpHostOrNone = Annotated[JumpHost | Literal["none"], PlainValidator(_jump_host_or_none)]


def choose_jump_host(
    address: str, own: JumpHost | Literal["none"] | None, default: JumpHost | None
) -> JumpHost | None:
    """The jump host for a host at ``address``: its own, otherwise the admin's default, otherwise none.

    A loopback address is the end of a tunnel on this workstation, which no jump host can reach: the default does not apply to it.
    """
    if own is None:
        return None if is_loopback(address) else default
    return None if own == NONE else own
