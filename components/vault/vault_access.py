"""How the relay reaches a vault, and what the vault is known to guarantee. Plain data, no resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.storage.service_facts import ChecksumChoice, ServiceName, Uploads
from components.storage.services import SERVICES


@dataclass(frozen=True, kw_only=True)
class StorageIdentity:
    """One identity in the storage. ``secret_access_key`` is a secret output; it is kept only on the relay (R6, R8).

    ``ready``: resources that must exist before it is used. ``settles_seconds``: how long the storage may refuse a new identity that it does not know yet.
    """

    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str]
    ready: Sequence[pulumi.Resource] = ()
    settles_seconds: int = 0


@dataclass(frozen=True, kw_only=True)
class S3Vault:
    """An S3 bucket with versioning, Object Lock and a default retention of at least ``lock_minimum_days``.

    ``identities`` maps a source's name to the identity that can reach only ``<prefix><source>/``; sources without their own use
    ``shared_identity``. The relay checks what the storage provides before anything is written; ``accepted_losses`` are the rows of
    docs/threat-model.md that it may fail to meet, or None if the stack cannot accept any.
    ``ready``: the resources that lock the bucket, if the program makes them. ``account`` is known for a vault on AWS that the program made.
    """

    endpoint: pulumi.Input[str]
    region: str
    bucket: str
    provider: ServiceName
    checksum: ChecksumChoice = "auto"
    lock_mode: str
    lock_minimum_days: int
    prefix: str = ""
    ca_certificate: pulumi.Input[str] | None = None
    identities: Mapping[str, StorageIdentity]
    shared_identity: StorageIdentity | None = None
    accepted_losses: tuple[str, ...] | None = None
    ready: Sequence[pulumi.Resource] = ()
    arn: pulumi.Input[str] | None = None
    account: str | None = None
    purpose: str | None = None

    def summary(self) -> Mapping[str, pulumi.Input[str] | None]:
        """Where the objects are, for ``ops`` (recovery, kit) and for the next run, which must not abandon them. It contains no secret."""
        known = {
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "prefix": self.prefix,
            "provider": self.provider,
        }
        made = {
            "checksum": None if self.checksum == "auto" else self.checksum,
            "caCertificate": self.ca_certificate,
            "arn": self.arn,
            "account": self.account,
            "purpose": self.purpose,
        }
        return {**known, **{name: value for name, value in made.items() if value is not None}}

    def uploads(self) -> Uploads:
        """How objects are sent to this bucket."""
        return SERVICES[self.provider].uploads(self.checksum)

    def identity(self, source: str) -> StorageIdentity:
        found = self.identities.get(source) or self.shared_identity
        if found is None:
            raise ValueError(f"no storage identity for source {source!r}; settings must have refused this")
        return found


@dataclass(frozen=True, kw_only=True)
class RcloneVault:
    """Any rclone remote. It has no Object Lock: a compromised relay can destroy every backup, and each run warns of that."""

    section: pulumi.Input[str]
    path: str
    egress: tuple[str, ...]

    def summary(self) -> Mapping[str, pulumi.Input[str] | None]:
        """Where the objects are, without the section, which contains keys."""
        return {"path": self.path}


Vault = S3Vault | RcloneVault
