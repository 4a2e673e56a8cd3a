"""RelayEntry: one source's room on the relay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.host.host_step import HostStep, HostStepArgs
from components.relay import rclone_config as s3_remote
from components.relay import source_account as render
from components.relay.rclone_remote import RcloneRemote
from components.settings import Limits
from components.storage.service_facts import rows_lost
from components.storage.services import SERVICES
from components.vault.vault_access import S3Vault, Vault


@dataclass(frozen=True, kw_only=True)
class RelayEntryArgs:
    """``generation`` counts the source's repositories: a higher one starts afresh in a new path and leaves the old one untouched.

    ``allowed_from``: networks (CIDR) from which the source's key is accepted; empty means everywhere.
    """

    relay: RcloneRemote
    source: str
    generation: int
    public_key: pulumi.Input[str]
    allowed_from: tuple[str, ...] = ()
    limits: Limits


class RelayEntry(pulumi.ComponentResource):
    """A source reaches its own folder in the storage, append-only and within its limits, and nothing else (S1 to S7, S10, S11).

    Pulumi type ``lastcopy:relay:RelayEntry``. Children: ``<name>-storage`` (HostStep storage_check; S3 only), which proves with the
    source's own account, identity and rclone arguments that the storage holds what the design needs and refuses what it must, before
    anything else is written (A10; what it lets pass is a warning on every run); ``<name>-account`` (HostStep relay_entry): account
    ``bk-<source>``, key, identity, limits. A changed key or identity, and removal, end the source's sessions at
    once: the backup that one of them carried is tried again by its service a minute later.
    Output: ``account``. Comes after the relay's own steps (``depends_on``). No step of one source touches another's.
    Does not protect one source's data from another where the vault has one shared identity and the relay itself is taken (R8).
    """

    account: pulumi.Output[str]

    def __init__(self, name: str, args: RelayEntryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:relay:RelayEntry",
            name,
            {"source": args.source, "generation": args.generation, "allowedFrom": args.allowed_from},
            opts,
        )
        relay, source, vault = args.relay, args.source, args.relay.vault
        uploads = vault.uploads() if isinstance(vault, S3Vault) else None
        root = f"{vault.bucket}/{vault.prefix}" if isinstance(vault, S3Vault) else vault.path
        path = render.storage_path(root, source, args.generation)
        ca = isinstance(vault, S3Vault) and vault.ca_certificate is not None
        conf, credentials = _conf(vault, source), _credentials(vault, source)
        proof = []
        if isinstance(vault, S3Vault):
            arguments = render.arguments(source, path=path, uploads=vault.uploads(), ca=ca)
            check = HostStep(
                f"{name}-storage",
                HostStepArgs(
                    host=relay.host,
                    script="storage_check",
                    values=_what_the_storage_must_hold(vault, source, args.generation, arguments),
                    secrets={
                        "ACCESS_KEY_ID": vault.identity(source).access_key_id,
                        "SECRET_ACCESS_KEY": vault.identity(source).secret_access_key,
                        "RCLONE_CONF": conf,
                        "CREDENTIALS": credentials,
                    },
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[*vault.ready, *vault.identity(source).ready]),
            )
            check.facts.apply(self._tell)
            proof.append(check)
        serve = render.serve_conf(source, path=path, limits=args.limits, uploads=uploads, ca=ca)
        key_line = pulumi.Output.from_input(args.public_key).apply(
            lambda key: render.authorized_key(source, key, args.allowed_from)
        )
        entry = HostStep(
            f"{name}-account",
            HostStepArgs(
                host=relay.host,
                script="relay_entry",
                values={
                    "SOURCE": source,
                    "KEY_LINE": key_line,
                    "SERVE": serve,
                    "SESSIONS": str(args.limits.sessions),
                    "DAILY_BYTES": render.daily_bytes(args.limits),
                },
                secrets={"RCLONE_CONF": conf, "CREDENTIALS": credentials},
                undo=True,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=proof),
        )
        self.account = entry.facts.apply(lambda facts: facts["account"])
        self.register_outputs({"account": self.account})

    def _tell(self, facts: Mapping[str, str]) -> None:
        """What the storage step found and let pass, on every run; what it could not see."""
        for name, text in facts.items():
            if name.startswith("warning"):
                pulumi.log.warn(f"STORAGE: {text}", self)
            elif name.startswith("unseen"):
                pulumi.log.info(f"storage: not seen: {text}", self)


def _conf(vault: Vault, source: str) -> pulumi.Output[str]:
    """rclone.conf of the source."""
    if not isinstance(vault, S3Vault):
        return pulumi.Output.from_input(vault.section).apply(render.section_conf)
    uploads, region = vault.uploads(), vault.region
    return pulumi.Output.from_input(vault.endpoint).apply(
        lambda endpoint: s3_remote.s3_conf(
            uploads=uploads,
            endpoint=endpoint,
            region=region,
            credentials_file=render.credentials_file(source),
        )
    )


def _what_the_storage_must_hold(
    vault: S3Vault, source: str, generation: int, arguments: Sequence[str]
) -> dict[str, pulumi.Input[str]]:
    """Values of the step storage_check."""
    service = SERVICES[vault.provider]
    repository = render.storage_path(vault.prefix, source, generation) + "/"
    accepted = {*(vault.accepted_losses or ()), *rows_lost(service)}
    # Refused only where the service is known for conditional writes: rclone's own look and the versions below are still there.
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


def _credentials(vault: Vault, source: str) -> pulumi.Input[str]:
    """The source's storage key; empty where rclone.conf holds all that the remote needs."""
    if not isinstance(vault, S3Vault):
        return ""
    identity, uploads = vault.identity(source), vault.uploads()
    return pulumi.Output.all(identity.access_key_id, identity.secret_access_key).apply(
        lambda key: s3_remote.s3_credentials(uploads=uploads, access_key_id=key[0], secret_access_key=key[1])
    )
