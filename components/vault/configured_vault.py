"""An existing vault, as the stack's settings describe it."""

from __future__ import annotations

from collections.abc import Iterable

from components.host.configured_host import secret
from components.settings import Identity, RcloneRemoteSection, S3Bucket, Source
from components.vault.vault_access import RcloneVault, S3Vault, StorageIdentity, Vault


def configured_vault(storage: S3Bucket | RcloneRemoteSection, sources: Iterable[Source]) -> Vault:
    """The bucket or remote, with the sources' identities from the settings."""
    match storage:
        case S3Bucket():
            return S3Vault(
                endpoint=storage.endpoint,
                region=storage.region,
                bucket=storage.bucket,
                provider=storage.provider,
                checksum=storage.checksum,
                prefix=storage.prefix,
                ca_certificate=storage.ca_certificate,
                lock_mode=storage.lock.mode,
                lock_minimum_days=storage.lock.minimum_days,
                identities=configured_identities(sources),
                shared_identity=None if storage.identity is None else _storage_identity(storage.identity),
                accepted_losses=storage.accepted_losses,
            )
        case RcloneRemoteSection():
            return RcloneVault(
                section=secret(storage.section),
                path=storage.path,
                egress=tuple(str(endpoint) for endpoint in storage.egress),
            )


def configured_identities(sources: Iterable[Source]) -> dict[str, StorageIdentity]:
    """The identities that were made elsewhere, by source name."""
    return {
        source.name: _storage_identity(source.identity) for source in sources if source.identity is not None
    }


def _storage_identity(identity: Identity) -> StorageIdentity:
    return StorageIdentity(
        access_key_id=identity.access_key_id,
        secret_access_key=secret(identity.secret_access_key),
    )
