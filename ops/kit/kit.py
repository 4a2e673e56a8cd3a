"""Kit: what is in the recovery kit. A JSON document that a person can read after decrypting it with age or gpg alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from ops.errors import LastcopyError
from ops.history.versions import iso
from ops.storage.access import (
    Access,
    Document,
    Password,
    PublicKey,
    RepositoryRecord,
    StorageKey,
    StorageLocation,
    find_record,
    read_records,
    read_storage_location,
)

README = (
    "This is the recovery kit of a lastcopy stack: it opens the backups without Pulumi, its state, the relay and the sources.",
    "It holds passwords. Keep it encrypted, and a copy of it and of its passphrase or key in two places that are not this storage.",
    "With the project's checkout: lastcopy recover look --kit FILE --source NAME, then restore or rebuild.",
    "Without it: install restic and rclone at the versions below and follow `commands`.",
)


class Relay(Document):
    """The intermediate machine, for whoever must look at it."""

    address: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str | None = None
    host_key: PublicKey


# What the kit takes of the stack's output.
_OF_RELAY = ("address", "port", "user", "hostKey")


class KitSource(RepositoryRecord):
    """One source's repository and its password."""

    password: Password


class Kit(Document):
    """``storageKey``: the break-glass identity, where the writer of the kit put one in."""

    read_me: tuple[str, ...] = README
    format: Literal[1] = 1
    made: str
    stack: str
    where: StorageLocation
    storage_key: StorageKey | None = None
    how_to_get_identities: str
    relay: Relay | None = None
    sources: Annotated[tuple[KitSource, ...], Field(min_length=1)]
    tools: dict[str, str]
    commands: tuple[str, ...]

    def access(self, source: str, key: StorageKey | None) -> Access:
        """One source's access, with the given storage key or else the kit's."""
        records = {record.name: record for record in self.sources}
        record = find_record(records, source)
        return Access(where=self.where, record=record, key=self.key(key), password=records[source].password)

    def key(self, given: StorageKey | None) -> StorageKey:
        """The given storage key or else the kit's."""
        chosen = given or self.storage_key
        if chosen is None:
            raise LastcopyError(
                "this kit holds no storage key",
                where="--storage-key",
                fix=f"get one and give its file: {self.how_to_get_identities}",
            )
        return chosen

    def text(self) -> str:
        """All of it, secrets included: only to be encrypted, or shown when that was asked for."""
        return json.dumps(_plain(self.model_dump(by_alias=True, exclude_none=True)), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def parse(text: str, where: str) -> Kit:
    """A decrypted kit; a newer format is refused with the reason."""
    try:
        raw = json.loads(text)
    except ValueError:
        raise LastcopyError("what was decrypted is not a recovery kit", where=where) from None
    if not isinstance(raw, dict) or raw.get("format") != 1:
        raise LastcopyError(
            "this kit is of another format than this program knows",
            where=where,
            allowed="format 1",
            fix="use the checkout that wrote it, or read the decrypted file yourself: it is plain JSON",
        )
    return Kit.read(raw, where)


def how_to_get_identities(where: StorageLocation) -> str:
    """In the words of the storage at hand."""
    place = f"bucket {where.bucket} at {where.endpoint}"
    rights = (
        "s3:ListBucketVersions, s3:ListBucket, s3:GetObject and s3:GetObjectVersion;"
        " for a rebuild also s3:PutObject, s3:DeleteObject, s3:DeleteObjectVersion"
    )
    if where.provider == "AWS":
        return f"as an administrator of the AWS account that owns {place}: make a user or role with {rights} on it, then `aws iam create-access-key`"
    return f"as an administrator of the storage that holds {place}: make an access key with {rights} on it"


def commands(where: StorageLocation, records: tuple[KitSource, ...]) -> tuple[str, ...]:
    """What to type on a clean machine without the project's checkout."""
    path = f"{where.prefix}/NAME/g1".lstrip("/")
    hints = ", ".join(f"{record.name}: {(record.key_id or 'unknown')[:16]}" for record in records)
    return (
        "# NAME: the source; g1: its generation; TIME: just before the trouble, such as 2026-11-23T13:54:02Z",
        f"export RCLONE_CONFIG_VAULT_TYPE=s3 RCLONE_CONFIG_VAULT_PROVIDER={where.uploads().rclone}",
        f"export RCLONE_CONFIG_VAULT_ENDPOINT={where.endpoint} RCLONE_CONFIG_VAULT_REGION={where.region}",
        "export RCLONE_CONFIG_VAULT_ACCESS_KEY_ID=… RCLONE_CONFIG_VAULT_SECRET_ACCESS_KEY=…",
        *(
            ("export RCLONE_CA_CERT=ca.pem   # a file with caCertificate of this kit",)
            if where.ca_certificate
            else ()
        ),
        f"# KEY by source: {hints}",
        f"export RESTIC_REPOSITORY=rclone:vault:{where.bucket}/{path}/ RESTIC_PASSWORD_FILE=password RESTIC_KEY_HINT=KEY",
        "view='serve restic --stdio --s3-version-at TIME'",
        'restic --no-cache --no-lock -o rclone.args="$view" snapshots',
        'restic --no-cache --no-lock -o rclone.args="$view" restore ID --target /restore',
    )


def make_kit(
    stack: str,
    outputs: Mapping[str, Any],
    tools: Mapping[str, str],
    now: datetime,
    *,
    key: StorageKey | None,
    identities: str = "",
) -> Kit:
    """All sources of a stack."""
    where = read_storage_location(outputs)
    records = tuple(
        KitSource(**record.model_dump(), password=SecretStr(outputs["passwords"][name]))
        for name, record in read_records(outputs).items()
    )
    relay = {name: one for name, one in outputs.get("relay", {}).items() if name in _OF_RELAY}
    return Kit(
        made=iso(now.replace(microsecond=0)),
        stack=stack,
        where=where,
        storage_key=key,
        how_to_get_identities=identities or how_to_get_identities(where),
        relay=Relay.read(relay, "output relay") if relay else None,
        sources=records,
        tools=dict(tools),
        commands=commands(where, records),
    )
