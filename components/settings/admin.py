"""Settings of the operator: access to the hosts, and the people who may open tunnels to the relay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool

from components.settings.jump import JumpHost
from components.settings.model import Model, read_if_known
from components.settings.people import TOTP, Person, SecondFactor
from components.settings.problems import SECRET, Finding, Fix, Loc
from components.settings.reference import Hint
from components.settings.ssh_keys import (
    PUBLIC_KEY_EXAMPLE,
    SECURITY_KEYS,
    AdminKey,
    PrivateKey,
    read_key_data,
)
from components.settings.values import Account, KeyFile

DEFAULT_USER = "admin"
"""The account of Debian's cloud images."""

WAYS_IN = ("privateKeyFile", "privateKey", "agent")
WAY_IN = f"exactly one of: {', '.join(WAYS_IN)}"


class Admin(Model):
    """How the operator reaches the relay and the managed sources. The sandbox makes its own user and key."""

    EXAMPLE: ClassVar[object] = {"user": "admin", "privateKeyFile": "~/.ssh/backup-admin"}

    user: Account = Field(
        DEFAULT_USER, description="Unix account that may become root by sudo without a password."
    )
    private_key_file: KeyFile | None = Field(
        None,
        description="File on this workstation with the unencrypted private key; begins with / or ~/.",
        examples=["~/.ssh/backup-admin"],
    )
    private_key: Annotated[PrivateKey | None, Hint(file="~/.ssh/backup-admin")] = Field(
        None,
        description="Secret: the unencrypted private key itself, in PEM form, if there is no file (CI).",
        examples=[SECRET],
    )
    agent: StrictBool = Field(
        False,
        description="true: the ssh agent at SSH_AUTH_SOCK holds the key; for one with a passphrase.",
    )
    agent_keys: tuple[AdminKey, ...] = Field(
        (),
        description="Public keys of the agent that are to be used; only with agent. Default: all are offered, and "
        "sshd ends the login after six; see docs/hosts.md.",
        examples=[[PUBLIC_KEY_EXAMPLE]],
    )
    jump_host: JumpHost | None = Field(
        None,
        description="Jump host for relay and managed sources, unless they name their own. Not used for loopback "
        "addresses, which are the end of a tunnel on this workstation.",
    )
    second_factor: SecondFactor = Field(
        "none",
        description="What people need besides a key: none, fido2 (a verified security key) or totp.",
    )
    people: tuple[Person, ...] = Field(
        (),
        description="Operators who may open a tunnel to the relay; needed with a second factor.",
        examples=[[Person.EXAMPLE]],
    )

    def ways_in(self) -> list[str]:
        """The settings that can hold the key; exactly one is needed."""
        given = (self.private_key_file is not None, self.private_key is not None, self.agent)
        return [way for way, is_given in zip(WAYS_IN, given, strict=True) if is_given]

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._refuse_two_ways_in()
        yield self._refuse_agent_keys_without_agent()
        yield self._require_people_for_second_factor()
        yield self._refuse_secrets_twice()
        for index, person in enumerate(self.people):
            at: Loc = ("people", index)
            yield self._refuse_own_user(at, person)
            yield self._require_totp_secret(at, person)
            yield self._require_security_keys(at, person)

    def _refuse_two_ways_in(self) -> Iterator[Finding]:
        chosen = self.ways_in()
        if len(chosen) > 1:
            fix = Fix(say="keep one, for example:", remove=True, at=(chosen[-1],))
            yield Finding((), f"has {' and '.join(chosen)}, which exclude each other", WAY_IN, fix)

    def _refuse_agent_keys_without_agent(self) -> Iterator[Finding]:
        if self.agent_keys and not self.agent:
            what = "is not used without agent: true"
            yield Finding(("agentKeys",), what, "with agent: true only", Fix(remove=True))

    def _require_people_for_second_factor(self) -> Iterator[Finding]:
        if self.second_factor != "none" and not self.people:
            what = f"is empty, so nobody could show the second factor {self.second_factor}"
            yield Finding(("people",), what, "at least one person", Fix(add=[Person.EXAMPLE]))

    def _refuse_own_user(self, at: Loc, person: Person) -> Iterator[Finding]:
        if person.name == self.user:
            what = "is the admin's user, whose key is the engine's"
            yield Finding((*at, "name"), what, "an account of this person's own", Fix(value="alice"))

    def _require_totp_secret(self, at: Loc, person: Person) -> Iterator[Finding]:
        is_used = self.second_factor == "totp"
        if is_used and person.totp_secret is None:
            what = "is missing: this person could never log in"
            yield Finding((*at, "totpSecret"), what, f"with secondFactor totp: {TOTP}")
        if not is_used and person.totp_secret is not None:
            what = f"is not used with secondFactor {self.second_factor}"
            yield Finding((*at, "totpSecret"), what, "with secondFactor totp only", Fix(remove=True))

    def _require_security_keys(self, at: Loc, person: Person) -> Iterator[Finding]:
        if self.second_factor != "fido2":
            return
        for number, key in enumerate(person.public_keys):
            if key.split()[0] not in SECURITY_KEYS:
                allowed = f"with secondFactor fido2: {' or '.join(SECURITY_KEYS)} lines only"
                yield Finding((*at, "publicKeys", number), "is not the key of a security key", allowed)

    def _refuse_secrets_twice(self) -> Iterator[Finding]:
        """Each name, key and TOTP secret belongs to only one person."""
        seen: set[tuple[str, str]] = set()
        for index, person in enumerate(self.people):
            for loc, value in _belongings(person):
                kind = str(loc[0])
                if (kind, value) in seen:
                    yield Finding(("people", index, *loc), "is in the list twice", *_ONCE[kind])
                seen.add((kind, value))


def _belongings(person: Person) -> Iterator[tuple[Loc, str]]:
    """The valid values of a person that nobody else may have."""
    name = read_if_known(lambda: person.name)
    if name is not None:
        yield ("name",), name
    secret = read_if_known(lambda: person.totp_secret)
    if secret is not None:
        yield ("totpSecret",), secret.get_secret_value()
    for number, key in enumerate(read_if_known(lambda: person.public_keys) or ()):
        yield ("publicKeys", number), read_key_data(key)


_ONCE: dict[str, tuple[str, Fix]] = {
    "name": ("each person once, with all keys in publicKeys", Fix(value="another-name")),
    "totpSecret": ("a secret of its own for every person", Fix()),
    "publicKeys": ("each key once", Fix(remove=True)),
}
