"""Access: everything needed to recover one repository, from a stack's outputs or from a recovery kit. Never printed."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from components.storage.service_facts import Checksum, ChecksumChoice, ServiceName, Uploads
from components.storage.services import SERVICES
from ops.errors import LastcopyError, escape_text, raise_all
from ops.history.dates import Retention


def _form(pattern: str, allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


def _secret(pattern: str, allowed: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if not re.fullmatch(pattern, value.get_secret_value()):
            raise ValueError(allowed)
        return value

    return AfterValidator(check)


Hex = Annotated[str, _form(r"[0-9a-f]{64}", "64 hexadecimal digits")]
KeyHint = Annotated[str, _form(r"[0-9a-f]{8,64}", "8 to 64 hexadecimal digits")]
Source = Annotated[str, _form(r"[a-z][a-z0-9-]{0,22}", "1 to 23 of a-z 0-9 -, beginning with a letter")]
Prefix = Annotated[
    str, _form(r"(?!\.\.?(/|$))([\w.-]+(/(?!\.\.?(/|$))[\w.-]+)*)?", "words joined by single slashes")
]
PublicKey = Annotated[str, _form(r"ssh-ed25519 [A-Za-z0-9+/=]+( [\w.@-]*)?", "one line: ssh-ed25519 AAAA…")]
# Only what rclone.conf returns unchanged: quotes, a trailing backslash and %( have a special meaning there.
SecretKey = Annotated[
    SecretStr,
    _secret(r"(?![\"'`])(?!.*%\()[!-~]{7,255}[!-\[\]-~]", "8 to 256 visible ASCII characters, as rclone.conf can carry"),
]  # fmt: skip
Password = Annotated[SecretStr, _secret(r"[^\r\n\0]{1,512}", "one line of 1 to 512 characters")]


class Document(BaseModel):
    """A part of the kit or of the outputs, with camelCase keys. Its errors never contain a value."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def read(cls, raw: Any, where: str) -> Self:
        """Parse the document. Raises LastcopyError with all problems at once. ``where``: its name in errors."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            problems = []
            for line in error.errors(include_url=False, include_input=False, include_context=False):
                at = ".".join(escape_text(part, 40) for part in line["loc"])
                said = line["msg"].removeprefix("Value error, ")
                rule = line["type"] == "value_error"
                problems.append(
                    LastcopyError(
                        "is not of the allowed form" if rule else said,
                        where=f"{where}: {at}",
                        allowed=said if rule else "",
                    )
                )
            raise_all(problems)
            raise AssertionError("a validation error has lines") from None


# The value that components/settings/silence.py derives from the default schedule, which is daily.
DAILY_SILENT_HOURS = 28


class StorageLocation(Document):
    """Where the objects are stored; the stack's output ``vault``."""

    endpoint: Annotated[str, _form(r"https://[A-Za-z0-9.:\[\]-]+", "https://host or https://host:port")]
    region: Annotated[str, _form(r"[a-z0-9-]{1,32}", "1 to 32 of a-z 0-9 -")]
    bucket: Annotated[str, _form(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "an S3 bucket's name")]
    prefix: Prefix = ""
    provider: ServiceName = "Other"
    checksum: ChecksumChoice = "auto"
    ca_certificate: Annotated[str, _form(r"[\w\s+/=-]+", "certificates in PEM form")] | None = None

    def uploads(self) -> Uploads:
        """How objects are uploaded there."""
        return SERVICES[self.provider].uploads(self.checksum)

    @property
    def knows_trailers(self) -> bool:
        """Whether the service supports S3's newer checksums (``x-amz-checksum-…``); some services refuse every request that names one."""
        return self.uploads().checksum is Checksum.TRAILER


class RepositoryRecord(Document):
    """What is known of one source's repository. ``silent_after_hours``: from its schedule. ``shrink_percent``: the source's
    ``expect.shrinkPercent``; None in the outputs or kit of an older program."""

    name: Source
    generation: Annotated[int, Field(ge=1)] = 1
    repository_id: Hex | None = None
    key_id: KeyHint | None = None
    public_key: PublicKey | None = None
    host_key: PublicKey | None = None
    silent_after_hours: Annotated[int, Field(ge=1)] | None = None
    shrink_percent: Annotated[int, Field(ge=0, le=100)] | None = None

    @property
    def silent_hours(self) -> int:
        """After how many hours without a new snapshot the source counts as silent (A8)."""
        return self.silent_after_hours or DAILY_SILENT_HOURS


class StorageKey(Document):
    """The identity that recovery uses: it lists and reads versions, and for a rebuild also writes and hides objects."""

    access_key_id: Annotated[str, _form(r"[A-Za-z0-9][\w.@+=-]{2,127}", "an access key id")]
    secret_access_key: SecretKey


@dataclass(frozen=True, kw_only=True)
class RepositoryLocation:
    """One repository and the key to its storage: enough to list its objects, but not to read their content.

    ``place``: its path, if it is not a generation of a source (as in an attack drill). ``lock_was``: the bucket's earlier default retentions, oldest first.
    """

    where: StorageLocation
    record: RepositoryRecord
    key: StorageKey = field(repr=False)
    place: str | None = None
    lock_was: tuple[Retention, ...] = ()

    @property
    def path(self) -> str:
        """The path below the bucket, as the relay serves it: ``prefix/source/g1``."""
        if self.place is not None:
            return self.place
        return f"{self.where.prefix}/{self.record.name}/g{self.record.generation}".lstrip("/")


@dataclass(frozen=True, kw_only=True)
class Access(RepositoryLocation):
    """A repository's location and its password."""

    password: SecretStr = field(repr=False)


def read_access(outputs: Mapping[str, Any], source: str, key: StorageKey) -> Access:
    """The access to one source's repository, from a stack's outputs with secrets. Raises LastcopyError."""
    where, records = read_storage_location(outputs), outputs.get("sources", {})
    if source not in records:
        raise _unknown(source, records)
    record = RepositoryRecord.read(_record_of(source, records[source]), f"output sources.{source}")
    return Access(where=where, record=record, key=key, password=SecretStr(outputs["passwords"][source]))


def read_storage_location(outputs: Mapping[str, Any]) -> StorageLocation:
    """The storage in a stack's outputs. Raises LastcopyError for an rclone remote, which has no versions to go back to."""
    vault = outputs.get("vault", {})
    if "bucket" not in vault:
        raise LastcopyError(
            "this stack does not say where its storage is: it was last run by an older program, or uses an rclone remote without versions",
            where="output vault",
            fix="pulumi up; or give the recovery kit",
        )
    known = ("endpoint", "region", "bucket", "prefix", "provider", "checksum", "caCertificate")
    return StorageLocation.read({name: vault[name] for name in known if name in vault}, "output vault")


def read_records(outputs: Mapping[str, Any]) -> dict[str, RepositoryRecord]:
    """Every source in a stack's outputs."""
    return {
        name: RepositoryRecord.read(_record_of(name, summary), f"output sources.{name}")
        for name, summary in sorted(outputs.get("sources", {}).items())
    }


def _record_of(source: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    known = (
        "generation",
        "repositoryId",
        "keyId",
        "publicKey",
        "hostKey",
        "silentAfterHours",
        "shrinkPercent",
    )
    return {"name": source} | {name: summary[name] for name in known if summary.get(name) is not None}


def _unknown(source: str, known: Mapping[str, Any]) -> LastcopyError:
    names = ", ".join(sorted(escape_text(name, 40) for name in known)) or "none"
    return LastcopyError(f"there is no source {source!a}", where="--source", allowed=f"one of: {names}")


def find_record(records: Mapping[str, RepositoryRecord], source: str) -> RepositoryRecord:
    """The source's record. Raises LastcopyError with the names of all sources."""
    if source not in records:
        raise _unknown(source, records)
    return records[source]


# key in the file -> our name; the last pair is from the local stack's storage/root.env
_NAMES = {
    "AWS_ACCESS_KEY_ID": "accessKeyId", "AWS_SECRET_ACCESS_KEY": "secretAccessKey",
    "accessKeyId": "accessKeyId", "secretAccessKey": "secretAccessKey",
    "AccessKeyId": "accessKeyId", "SecretAccessKey": "secretAccessKey",
    "MINIO_ROOT_USER": "accessKeyId", "MINIO_ROOT_PASSWORD": "secretAccessKey",
}  # fmt: skip
KEY_FORMS = "lines AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=…, or the JSON that `aws iam create-access-key` prints"


def read_storage_key(file: str) -> StorageKey:
    """Read a key from a file that only its owner can read, or from standard input (``-``); never from the command line. Raises LastcopyError."""
    where = "--storage-key"
    text = read_private(file, where)
    found: dict[str, Any] = {}
    try:
        raw = json.loads(text)
        inner = raw.get("AccessKey", raw) if isinstance(raw, dict) else {}
        found = {_NAMES[name]: value for name, value in inner.items() if name in _NAMES}
    except ValueError:
        for line in text.splitlines():
            name, _, value = line.strip().removeprefix("export ").partition("=")
            if name.strip() in _NAMES:
                found[_NAMES[name.strip()]] = value.strip().strip("\"'")
    if len(found) != 2:
        raise LastcopyError("does not hold a storage key", where=where, allowed=KEY_FORMS)
    return StorageKey.read(found, where)


def read_private(file: str, where: str) -> str:
    """Read a file with a secret. Raises LastcopyError if others than its owner can read it. ``where``: the option's name."""
    if file == "-":
        return sys.stdin.read()
    path = Path(file)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise LastcopyError(
                f"{path} can be read by others than its owner", where=where, fix=f"chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LastcopyError(f"{path} cannot be read: {why}", where=where) from None
