"""RelayEntry: the account, key, storage identity and limits of one source on the relay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import pulumi

from components.host.host_step import HostStep, HostStepArgs
from components.relay.entry import rclone_config, source_account_files
from components.relay.entry.source_account_files import storage_path
from components.relay.service.rclone_remote import RcloneRemote
from components.relay.storage_check.storage_check_values import storage_check_values
from components.settings import Limits
from components.storage.service_facts import Uploads
from components.vault.vault_access import S3Vault, Vault


@dataclass(frozen=True, kw_only=True)
class RelayEntryArgs:
    """``generation`` counts the source's repositories: a higher number begins at a new path and leaves the old one untouched.

    ``allowed_from``: networks (CIDR) from which the source's key is accepted; empty means everywhere.
    """

    relay: RcloneRemote
    source: str
    generation: int
    public_key: pulumi.Input[str]
    allowed_from: tuple[str, ...] = ()
    limits: Limits


class RelayEntry(pulumi.ComponentResource):
    """A source reaches only its own prefix in the storage, append-only and within its limits (S1 to S7, S10, S11).

    Pulumi type ``lastcopy:relay:RelayEntry``. Children: ``<name>-storage`` (HostStep storage_check; only S3), which uses the
    source's own account, identity and rclone arguments to prove that the storage provides what the design needs and refuses what it must, before
    anything else is written (A10; losses that it accepts are warnings on every run); ``<name>-account`` (HostStep relay_entry): account
    ``bk-<source>``, key, identity, limits. A changed key or identity, or removal, ends the source's sessions at
    once; the service of an interrupted backup tries again a minute later.
    Output: ``account``. Comes after the relay's own steps (``depends_on``). No step of a source touches another source.
    Does not protect one source's data from another if the vault has one shared identity and an attacker controls the relay (R8).
    """

    account: pulumi.Output[str]

    def __init__(self, name: str, args: RelayEntryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:relay:RelayEntry",
            name,
            {"source": args.source, "generation": args.generation, "allowedFrom": args.allowed_from},
            opts,
        )
        self._name, self._args = name, args
        vault, source = args.relay.vault, args.source
        secrets = {"RCLONE_CONF": _rclone_conf(vault, source), "CREDENTIALS": _credentials(vault, source)}
        proof = [self._prove_storage(vault, secrets)] if isinstance(vault, S3Vault) else []
        entry = HostStep(
            f"{name}-account",
            HostStepArgs(
                host=args.relay.host,
                script="relay_entry",
                values=_account_values(args),
                secrets=secrets,
                undo=True,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=proof),
        )
        self.account = entry.facts.apply(lambda facts: facts["account"])
        self.register_outputs({"account": self.account})

    def _prove_storage(self, vault: S3Vault, secrets: Mapping[str, pulumi.Input[str]]) -> HostStep:
        source, identity = self._args.source, vault.identity(self._args.source)
        arguments = source_account_files.arguments(source, **_service(self._args))
        step = HostStep(
            f"{self._name}-storage",
            HostStepArgs(
                host=self._args.relay.host,
                script="storage_check",
                values=storage_check_values(vault, source, self._args.generation, arguments),
                secrets={
                    "ACCESS_KEY_ID": identity.access_key_id,
                    "SECRET_ACCESS_KEY": identity.secret_access_key,
                    **secrets,
                },
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[*vault.ready, *identity.ready]),
        )
        step.facts.apply(self._tell)
        return step

    def _tell(self, facts: Mapping[str, str]) -> None:
        """Report on every run what the storage step found and accepted, and what it could not check."""
        for name, text in facts.items():
            if name.startswith("warning"):
                pulumi.log.warn(f"STORAGE: {text}", self)
            elif name.startswith("unseen"):
                pulumi.log.info(f"storage: not seen: {text}", self)


def _account_values(args: RelayEntryArgs) -> dict[str, pulumi.Input[str]]:
    """The public values of the step relay_entry."""
    source, allowed_from = args.source, args.allowed_from
    return {
        "SOURCE": source,
        "KEY_LINE": pulumi.Output.from_input(args.public_key).apply(
            lambda key: source_account_files.authorized_key(source, key, allowed_from)
        ),
        "SERVE": source_account_files.serve_conf(source, limits=args.limits, **_service(args)),
        "SESSIONS": str(args.limits.sessions),
        "DAILY_BYTES": source_account_files.daily_bytes(args.limits),
    }


class _Service(TypedDict):
    path: str
    uploads: Uploads | None
    ca: bool


def _service(args: RelayEntryArgs) -> _Service:
    """What rclone serves for this source, and how it reaches it."""
    vault = args.relay.vault
    if isinstance(vault, S3Vault):
        path = storage_path(f"{vault.bucket}/{vault.prefix}", args.source, args.generation)
        return _Service(path=path, uploads=vault.uploads(), ca=vault.ca_certificate is not None)
    return _Service(path=storage_path(vault.path, args.source, args.generation), uploads=None, ca=False)


def _rclone_conf(vault: Vault, source: str) -> pulumi.Output[str]:
    """The source's rclone.conf."""
    if not isinstance(vault, S3Vault):
        return pulumi.Output.from_input(vault.section).apply(source_account_files.section_conf)
    uploads, region = vault.uploads(), vault.region
    return pulumi.Output.from_input(vault.endpoint).apply(
        lambda endpoint: rclone_config.s3_conf(
            uploads=uploads,
            endpoint=endpoint,
            region=region,
            credentials_file=source_account_files.credentials_file(source),
        )
    )


def _credentials(vault: Vault, source: str) -> pulumi.Input[str]:
    """The source's storage key; empty if rclone.conf contains everything that the remote needs."""
    if not isinstance(vault, S3Vault):
        return ""
    identity, uploads = vault.identity(source), vault.uploads()
    return pulumi.Output.all(identity.access_key_id, identity.secret_access_key).apply(
        lambda key: rclone_config.s3_credentials(
            uploads=uploads, access_key_id=key[0], secret_access_key=key[1]
        )
    )
