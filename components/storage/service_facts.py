"""What must be known about an S3 service before it is trusted with backups. The services themselves: components/storage/services.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Generic, Literal, TypeVar

ServiceName = Literal[
    "AWS", "Minio", "Versity", "Ceph", "Hetzner", "Wasabi", "Backblaze", "Google", "Cloudflare", "Other"
]
ChecksumChoice = Literal["auto", "trailer", "md5"]
Value = TypeVar("Value")
PART_MIB = 8  # each connection of a session keeps one part in memory; smaller parts cost more requests


class Checksum(StrEnum):
    """How an upload carries a checksum that the storage compares with the body before it stores it."""

    TRAILER = "trailer"
    """``x-amz-checksum-crc32`` in a trailer of the request: one request per object, no second pass over the data."""
    MD5 = "md5"
    """``Content-MD5`` on the parts of a multipart upload: three requests per object at least."""


class Tried(StrEnum):
    """How far a fact was tried by this project."""

    REAL = "tried with the real server"
    GATE = "tried through a gate of the tests, which follows the source"
    READ = "read only"


@dataclass(frozen=True, kw_only=True)
class Fact(Generic[Value]):
    """One property of a service. ``value`` None: it is unknown, and nothing relies on it.

    ``source``: where it is documented; ``date``: when it was read or tried, or the date of the report.
    """

    value: Value | None
    source: str
    date: str
    tried: Tried = Tried.READ
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """From which size on an object is sent in parts, and how large a part is, in MiB. ``cutoff`` 0 sends every object in parts.

    One part of an object is sent at a time, and rclone keeps it in memory: ``size`` times the connections of a session.
    """

    cutoff: int
    size: int

    def __post_init__(self) -> None:
        if not (0 <= self.cutoff <= 5120 and 5 <= self.size <= 5120):
            what = f"parts of {self.size} MiB from {self.cutoff} MiB on"
            raise ValueError(f"{what}: S3 takes parts of 5 to 5120 MiB")


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """How rclone sends objects to a service.

    ``rclone``: the provider's name in rclone.conf. ``parts`` None: every object in one request, whatever its size. ``compares``: rclone
    compares its MD5 with the ETag afterwards. That is unnecessary if the storage compared a checksum before it stored the object, and wrong if an ETag is
    not an MD5 sum (SSE-KMS, parts). ``condition``: with ``If-None-Match: *``, so that the storage accepts a name only once (S5).
    """

    rclone: str
    checksum: Checksum
    parts: Parts | None
    compares: bool
    condition: bool


@dataclass(frozen=True, kw_only=True)
class StorageService:
    """One service. The names of the facts are the columns of the table in the documentation.

    ``rclone``: the provider's name in rclone.conf. ``conditional_write``: a second write of a name with ``If-None-Match: *`` is refused, for
    uploads with this ``checksum``. ``identity_per_source``: a policy can confine an identity to a prefix. ``missing_key_is_404``: even
    if listing is allowed only below a prefix. ``retention_is_a_right``: a write that sets its own lock needs a separate right.
    ``takes_conditions``: False if any write with a condition is refused, so that none is sent.
    ``largest_body``: MiB accepted in one request with a trailer; None: as much as S3 allows.
    ``cannot_work``: why the preview refuses the service, "" if it does not.
    """

    name: ServiceName
    title: str
    rclone: str
    checksum: Fact[Checksum]
    conditional_write: Fact[bool]
    object_lock: Fact[bool]
    versions_listed: Fact[bool]
    identity_per_source: Fact[bool]
    missing_key_is_404: Fact[bool]
    etag_is_md5: Fact[bool]
    retention_is_a_right: Fact[bool]
    takes_conditions: bool = True
    largest_body: int | None = None
    cannot_work: str = ""

    def facts(self) -> Mapping[str, Fact[Checksum] | Fact[bool]]:
        """Every fact by its name, in the order of the table."""
        return {
            field.name: value
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Fact)
        }

    def upload_checksum(self, chosen: ChecksumChoice = "auto") -> Checksum:
        """The service's own checksum, unless the stack file chooses another."""
        if chosen != "auto":
            return Checksum(chosen)
        if self.checksum.value is None:
            raise AssertionError(f"{self.name} has no checksum; a test of the catalogue refuses that")
        return self.checksum.value

    def uploads(self, chosen: ChecksumChoice = "auto") -> Uploads:
        """How objects are sent to this service, with its own checksum or with the chosen one."""
        way, own = self.upload_checksum(chosen), self.upload_checksum()
        cutoff = 0 if way is Checksum.MD5 else self.largest_body
        return Uploads(
            rclone=self.rclone,
            checksum=way,
            parts=None if cutoff is None else Parts(cutoff=cutoff, size=PART_MIB),
            # The service could ignore a trailer that the catalogue does not know about.
            compares=way is Checksum.TRAILER and own is not Checksum.TRAILER,
            condition=self.takes_conditions,
        )


# The rows of docs/threat-model.md that are lost or weakened if a fact is not true.
LOSES: Mapping[str, tuple[str, ...]] = {
    "conditional_write": ("S5",),
    "object_lock": ("R1", "R2"),
    "versions_listed": ("R3",),
    "identity_per_source": ("R8",),
    "missing_key_is_404": ("R8",),
    "retention_is_a_right": ("R5",),
}
# What such a loss means, for the preview and the documentation.
MEANS: Mapping[str, str] = {
    "conditional_write": "only the relay's rclone refuses a second write of a name, not the storage; the lock keeps the first version",
    "object_lock": "objects are not locked from their own upload on, so whoever controls the relay can destroy backups",
    "versions_listed": "the list of versions cannot be relied on, and with it recovery to a moment",
    "identity_per_source": "an identity is not confined to its source, so whoever controls the relay reaches the objects of all",
    "missing_key_is_404": "a source's identity must be allowed to list the whole bucket, and sees the names of all sources' objects",
    "retention_is_a_right": "a writer can set a lock of decades, for which you pay",
}


def losses(service: StorageService) -> Iterator[tuple[tuple[str, ...], str]]:
    """The rows that each missing guarantee weakens, and what that means."""
    for name, fact in service.facts().items():
        if fact.value is False and name in LOSES:
            yield LOSES[name], MEANS[name]


def rows_lost(service: StorageService) -> tuple[str, ...]:
    """The rows of the threat model that this service is known not to meet."""
    return tuple(
        row for name, fact in service.facts().items() if fact.value is False for row in LOSES.get(name, ())
    )
