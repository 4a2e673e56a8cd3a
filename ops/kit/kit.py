"""The content of the recovery kit: a JSON document that a person can read after decrypting it with age or gpg."""

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
    "This is the recovery kit of a lastcopy stack: it opens the backups without Pulumi, its state, the relay or the sources.",
    "It contains passwords. Keep it encrypted. Keep copies of it and of its passphrase or key in two places outside this storage.",
    "With the project's checkout: lastcopy recover look --kit FILE --source NAME, then restore or rebuild.",
    "Without it: install restic and rclone at the versions below and follow `commands`.",
)


class Relay(Document):
    """The intermediate machine, for a person who must examine it."""

    address: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: str | None = None
    host_key: PublicKey


# The parts of the stack's output that the kit contains.
_OF_RELAY = ("address", "port", "user", "hostKey")


class KitSource(RepositoryRecord):
    """One source's repository and its password."""

    password: Password


class Kit(Document):
    """The whole kit. ``storageKey``: the break-glass identity, if it was included."""

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
        """The access to one source's repository, with the given storage key or else the kit's. Raises LastcopyError."""
        records = {record.name: record for record in self.sources}
        record = find_record(records, source)
        return Access(where=self.where, record=record, key=self.key(key), password=records[source].password)

    def key(self, given: StorageKey | None) -> StorageKey:
        """The given storage key or else the kit's. Raises LastcopyError if there is none."""
        chosen = given or self.storage_key
        if chosen is None:
            raise LastcopyError(
                "this kit contains no storage key",
                where="--storage-key",
                fix=f"get one and pass its file: {self.how_to_get_identities}",
            )
        return chosen

    def text(self) -> str:
        """The whole document including secrets: only for encryption, or for printing on request."""
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
    """Parse a decrypted kit. Raises LastcopyError, also for a newer format."""
    try:
        raw = json.loads(text)
    except ValueError:
        raise LastcopyError("the decrypted file is not a recovery kit", where=where) from None
    if not isinstance(raw, dict) or raw.get("format") != 1:
        raise LastcopyError(
            "this program does not know the format of this kit",
            where=where,
            allowed="format 1",
            fix="use the checkout that wrote it, or read the decrypted file yourself: it is plain JSON",
        )
    return Kit.read(raw, where)


def how_to_get_identities(where: StorageLocation) -> str:
    """How to get a storage key, described for this kind of storage."""
    place = f"bucket {where.bucket} at {where.endpoint}"
    rights = (
        "s3:ListBucketVersions, s3:ListBucket, s3:GetObject and s3:GetObjectVersion;"
        " for a rebuild also s3:PutObject, s3:DeleteObject, s3:DeleteObjectVersion"
    )
    if where.provider == "AWS":
        return f"as an administrator of the AWS account that owns {place}: create a user or role with {rights} on it, then `aws iam create-access-key`"
    return f"as an administrator of the storage that holds {place}: create an access key with {rights} on it"


def commands(where: StorageLocation, records: tuple[KitSource, ...]) -> tuple[str, ...]:
    """The commands to type on a clean machine without the project's checkout."""
    path = f"{where.prefix}/NAME/g1".lstrip("/")
    hints = ", ".join(f"{record.name}: {(record.key_id or 'unknown')[:16]}" for record in records)
    return (
        "# NAME: the source; g1: its generation; TIME: just before the incident, such as 2026-11-23T13:54:02Z",
        f"export RCLONE_CONFIG_VAULT_TYPE=s3 RCLONE_CONFIG_VAULT_PROVIDER={where.uploads().rclone}",
        f"export RCLONE_CONFIG_VAULT_ENDPOINT={where.endpoint} RCLONE_CONFIG_VAULT_REGION={where.region}",
        "export RCLONE_CONFIG_VAULT_ACCESS_KEY_ID=… RCLONE_CONFIG_VAULT_SECRET_ACCESS_KEY=…",
        *(
            ("export RCLONE_CA_CERT=ca.pem   # a file with this kit's caCertificate",)
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
    """Make a kit with all sources of a stack.

    ``key``: the break-glass storage key to include, if any. ``identities``: how to get a storage key, in the operator's words.
    """
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
