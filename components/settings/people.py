"""Settings of the people who open tunnels to the relay, and of what they show besides a key (A6)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr, StrictStr

from components.settings.keys import (
    HOW_TO_MAKE_A_SECURITY_KEY,
    SECURITY_KEY,
    SECURITY_KEYS,
    AdminKey,
    blob_of,
)
from components.settings.model import Model
from components.settings.problems import SECRET, Finding, Fix, Loc, finding, refuse
from components.settings.values import match

FACTORS = ("none", "fido2", "totp")
HOW_TO_SEED_TOTP = (
    "make one with `head -c 20 /dev/urandom | base32`, give it to that person's authenticator too, then:"
)
_NAMES = "1 to 23 of a-z 0-9 -, beginning with a letter: an account that the program makes on the relay"
_TOTP = "base32 (A-Z 2-7) of 16 to 80 bytes, of this person alone"


def _name(value: str) -> str:
    match(value, r"[a-z][a-z0-9-]{0,22}", _NAMES)
    if value == "root" or value.startswith("bk-"):
        raise refuse("is the name of another account of the relay's", allowed=f"{_NAMES}; not root, not bk-…")
    return value


def _canonical(text: str) -> str:
    """The secret as PAM's module keeps it; authenticators show it in groups and in small letters."""
    return text.replace(" ", "").upper().rstrip("=")


def _totp_secret(value: SecretStr) -> SecretStr:
    text = _canonical(value.get_secret_value())
    if not re.fullmatch(r"[A-Z2-7]{26,128}", text) or len(text) % 8 not in (0, 2, 4, 5, 7):
        raise refuse("is not a base32 secret of the right size", allowed=_TOTP)
    if len(set(base64.b32decode(text + "=" * (-len(text) % 8)))) < 8:
        raise refuse("could be guessed", allowed=_TOTP)
    return SecretStr(text)


class Person(Model):
    """One operator: an account on the relay that opens a tunnel to its sshd and can do nothing else."""

    EXAMPLE: ClassVar[object] = {"name": "alice", "publicKeys": [f"{SECURITY_KEY} AAAA… alice"]}

    name: Annotated[StrictStr, AfterValidator(_name)] = Field(
        description=f"{_NAMES}; not the admin's user.", examples=["alice"]
    )
    public_keys: Annotated[tuple[AdminKey, ...], Field(min_length=1)] = Field(
        description="Public keys, at least one: ssh-ed25519, or with fido2 those of security keys only.",
        examples=[[f"{SECURITY_KEY} AAAA… alice"]],
        json_schema_extra={"how": HOW_TO_MAKE_A_SECURITY_KEY},
    )
    totp_secret: Annotated[SecretStr, AfterValidator(_totp_secret)] | None = Field(
        None,
        description=f"Secret, with secondFactor totp only: {_TOTP}.",
        examples=[SECRET],
        json_schema_extra={"how": HOW_TO_SEED_TOTP},
    )


def rules_of_people(admin: Mapping[str, Any]) -> Iterator[Finding]:
    """What the people in the list and the second factor demand of each other."""
    people = entries(admin)
    factor = admin.get("secondFactor", "none")
    if factor in FACTORS[1:] and admin.get("people", []) in ([], None):
        what = f"is empty, so nobody could show the second factor {factor}"
        yield finding(("people",), what, "at least one person", Fix(add=[Person.EXAMPLE]))
    user = admin.get("user", "admin")
    for index, person in enumerate(people):
        if isinstance(user, str) and person.get("name") == user:
            what = "is the admin's user, whose key is the engine's"
            yield finding(
                ("people", index, "name"), what, "an account of this person's own", Fix(value="alice")
            )
        if factor in FACTORS:
            yield from _factor_of(factor, index, person)
    yield from _nothing_twice(people)


def entries(admin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The people as written; what is no map counts as an empty one, its own rule says what is wrong."""
    given = admin.get("people")
    given = given if isinstance(given, list | tuple) else []
    return [person if isinstance(person, Mapping) else {} for person in given]


def keys_of(person: Mapping[str, Any]) -> list[object]:
    keys = person.get("publicKeys")
    return list(keys) if isinstance(keys, list | tuple) else []


def _factor_of(factor: str, index: int, person: Mapping[str, Any]) -> Iterator[Finding]:
    secret = person.get("totpSecret")
    if factor == "totp" and person and secret is None:
        what = "is missing: this person could never log in"
        yield finding(("people", index, "totpSecret"), what, f"with secondFactor totp: {_TOTP}")
    if factor != "totp" and secret is not None:
        what = f"is not used with secondFactor {factor}"
        yield finding(("people", index, "totpSecret"), what, "with secondFactor totp only", Fix(remove=True))
    for number, key in enumerate(keys_of(person)):
        if factor == "fido2" and blob_of(key) and str(key).split()[0] not in SECURITY_KEYS:
            allowed = f"with secondFactor fido2: {' or '.join(SECURITY_KEYS)} lines only"
            yield finding(
                ("people", index, "publicKeys", number), "is not the key of a security key", allowed
            )


def _nothing_twice(people: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    def secret(value: object) -> object:
        return _canonical(value) if isinstance(value, str) else None

    found: list[tuple[Loc, object]] = []
    for index, person in enumerate(people):
        found.append((("people", index, "name"), person.get("name")))
        found.append((("people", index, "totpSecret"), secret(person.get("totpSecret"))))
        for number, key in enumerate(keys_of(person)):
            found.append((("people", index, "publicKeys", number), blob_of(key)))
    seen: set[tuple[str, object]] = set()
    for loc, value in found:
        kind = str(loc[2])
        if isinstance(value, str) and (kind, value) in seen:
            allowed, fix = _ONCE[kind]
            yield finding(loc, "stands in the list twice", allowed, fix())
        elif isinstance(value, str):
            seen.add((kind, value))


_ONCE: Mapping[str, tuple[str, Callable[[], Fix]]] = {
    "name": ("each person once, with all keys in publicKeys", lambda: Fix(value="another-name")),
    "totpSecret": ("a secret of its own for every person", Fix),
    "publicKeys": ("each key once", lambda: Fix(remove=True)),
}
