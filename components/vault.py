"""Vaults: where the objects end, and with which identity each source's room is reached.

Plain data, no resources: a vault says what the relay needs to know and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True)
class StorageIdentity:
    """One identity in the storage. ``secret_access_key`` is a secret output; it stands on the relay only (R6, R8)."""

    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class S3Vault:
    """An S3 bucket with versioning, Object Lock and a default retention of at least ``lock_minimum_days``.

    ``identities`` maps a source's name to the identity that may reach ``<prefix><source>/`` alone; ``shared_identity`` serves the sources
    without one of their own. The relay checks versioning, lock mode and retention before anything is written.
    """

    endpoint: pulumi.Input[str]
    region: str
    bucket: str
    provider: str
    lock_mode: str
    lock_minimum_days: int
    prefix: str = ""
    ca_certificate: pulumi.Input[str] | None = None
    identities: Mapping[str, StorageIdentity]
    shared_identity: StorageIdentity | None = None

    def place(self) -> dict[str, pulumi.Input[str]]:
        """Where the objects stand, for `ops recover` and the recovery kit; nothing of it is secret."""
        place: dict[str, pulumi.Input[str]] = {
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "prefix": self.prefix,
            "provider": self.provider,
        }
        return place | ({"caCertificate": self.ca_certificate} if self.ca_certificate is not None else {})

    def identity(self, source: str) -> StorageIdentity:
        found = self.identities.get(source) or self.shared_identity
        if found is None:
            raise ValueError(f"no storage identity for source {source!r}; settings must have refused this")
        return found


@dataclass(frozen=True, kw_only=True)
class RcloneVault:
    """Any rclone remote. No Object Lock: a compromised relay can destroy what stands here, and the program says so loudly."""

    section: pulumi.Input[str]
    path: str
    egress: tuple[str, ...]


Vault = S3Vault | RcloneVault
