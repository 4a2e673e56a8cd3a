"""Settings of the people who open tunnels to the relay, and of their second factor (A6)."""

from __future__ import annotations

import base64
import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, StrictStr

from components.settings.form import Form
from components.settings.model import Model
from components.settings.problems import SECRET, refuse
from components.settings.reference import Hint
from components.settings.ssh_keys import HOW_TO_MAKE_A_SECURITY_KEY, SECURITY_KEY, AdminKey
from components.settings.values import NAME

SecondFactor = Literal["none", "fido2", "totp"]
HOW_TO_SEED_TOTP = (
    "make one with `head -c 20 /dev/urandom | base32`, give it to that person's authenticator too, then:"
)
_NAMES = f"{NAME.allowed}: an account that the program makes on the relay"
TOTP = "base32 (A-Z 2-7) of 16 to 80 bytes, of this person alone"


def _name(value: str) -> str:
    if value == "root" or value.startswith("bk-"):
        raise refuse("is the name of another account of the relay's", allowed=f"{_NAMES}; not root, not bk-…")
    return value


def _canonical(text: str) -> str:
    """The secret in the form that PAM's module stores; authenticators show it in groups and in lower case."""
    return text.replace(" ", "").upper().rstrip("=")


def _totp_secret(value: SecretStr) -> SecretStr:
    text = _canonical(value.get_secret_value())
    if not re.fullmatch(r"[A-Z2-7]{26,128}", text) or len(text) % 8 not in (0, 2, 4, 5, 7):
        raise refuse("is not a base32 secret of the right size", allowed=TOTP)
    if len(set(base64.b32decode(text + "=" * (-len(text) % 8)))) < 8:
        raise refuse("could be guessed", allowed=TOTP)
    return SecretStr(text)


TotpSecret = Annotated[SecretStr, AfterValidator(_totp_secret)]


class Person(Model):
    """One operator: an account on the relay that opens a tunnel to its sshd and can do nothing else."""

    EXAMPLE: ClassVar[object] = {"name": "alice", "publicKeys": [f"{SECURITY_KEY} AAAA… alice"]}

    name: Annotated[StrictStr, Form(NAME.pattern, _NAMES), AfterValidator(_name)] = Field(
        description=f"{_NAMES}; not the admin's user.", examples=["alice"]
    )
    public_keys: Annotated[
        tuple[AdminKey, ...], Field(min_length=1), Hint(how=HOW_TO_MAKE_A_SECURITY_KEY)
    ] = Field(
        description="Public keys, at least one: ssh-ed25519, or with fido2 those of security keys only.",
        examples=[[f"{SECURITY_KEY} AAAA… alice"]],
    )
    totp_secret: Annotated[TotpSecret | None, Hint(how=HOW_TO_SEED_TOTP)] = Field(
        None,
        description=f"Secret, with secondFactor totp only: {TOTP}.",
        examples=[SECRET],
    )
