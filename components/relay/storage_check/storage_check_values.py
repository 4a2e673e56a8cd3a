"""The values of the step storage_check: where the storage is, and what it must provide for one source."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.relay.entry.source_account_files import storage_path
from components.storage.service_facts import rows_lost
from components.storage.services import SERVICES
from components.vault.vault_access import S3Vault


def storage_check_values(
    vault: S3Vault, source: str, generation: int, arguments: Sequence[str]
) -> dict[str, pulumi.Input[str]]:
    """The step's public values. ``arguments``: rclone's whole command line in a session of the source."""
    service = SERVICES[vault.provider]
    repository = storage_path(vault.prefix, source, generation) + "/"
    accepted = {*(vault.accepted_losses or ()), *rows_lost(service)}
    # Refused only if the service is known for conditional writes: rclone's own check and the earlier versions still protect the data.
    accepted |= set() if service.conditional_write.value else {"S5"}
    values: dict[str, pulumi.Input[str]] = {
        "SOURCE": source,
        "ENDPOINT": vault.endpoint,
        "REGION": vault.region,
        "BUCKET": vault.bucket,
        "PREFIX": repository.removesuffix(f"g{generation}/"),
        "REPOSITORY": repository,
        "ARGUMENTS": "".join(f"{argument}\n" for argument in arguments),
        "CHECKSUM": vault.uploads().checksum.value,
        "LOCK_MODE": vault.lock_mode,
        "MINIMUM_DAYS": str(vault.lock_minimum_days),
        "CA": vault.ca_certificate or "",
        "ACCEPTED": " ".join(sorted(accepted)),
    }
    if vault.accepted_losses is not None:
        values["ACCEPT_BY"] = "lastcopy:storage.s3.acceptedLosses"
    if source not in vault.identities:
        values["SHARED"] = "yes"
    if settles := vault.identity(source).settles_seconds:
        values["PATIENCE"] = str(settles)
    return values
