"""RelayEntry: one source's room on the relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi

from components.host_step import HostStep
from components.rclone_remote import RcloneRemote
from components.render import relay as render
from components.render.relay import Limits
from components.storage_services import SERVICES
from components.vault import S3Vault

__all__ = ["Limits", "RelayEntry", "RelayEntryArgs"]


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
    limits: Limits = field(default_factory=Limits)


class RelayEntry(pulumi.ComponentResource):
    """A source reaches its own folder in the storage, append-only and within its limits, and nothing else (S1 to S7, S10, S11).

    Pulumi type ``lastcopy:relay:RelayEntry``. Children: ``<name>-storage`` (HostStep storage_check; S3 only), which proves with the
    source's own identity that the bucket keeps versions and locks them, before anything is written; ``<name>-account`` (HostStep
    relay_entry): account ``bk-<source>``, key, identity, limits. A changed key or identity, and removal, end the source's sessions at
    once: the backup that one of them carried is tried again by its service a minute later.
    Outputs: ``ready``, ``account``. No step of one source touches another's.
    Does not protect one source's data from another where the vault has one shared identity and the relay itself is taken (R8).
    """

    ready: Sequence[pulumi.Resource]
    account: pulumi.Output[str]

    def __init__(self, name: str, args: RelayEntryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "lastcopy:relay:RelayEntry",
            name,
            {"source": args.source, "generation": args.generation, "allowedFrom": args.allowed_from},
            opts,
        )
        child = pulumi.ResourceOptions(parent=self)
        relay, source, vault = args.relay, args.source, args.relay.vault
        conf: pulumi.Output[str]
        after: list[pulumi.Resource] = list(relay.ready)
        if isinstance(vault, S3Vault):
            identity = vault.identity(source)
            provider, region = SERVICES[vault.provider].rclone, vault.region
            root = f"{vault.bucket}/{vault.prefix}"
            conf = pulumi.Output.all(
                vault.endpoint, identity.access_key_id, identity.secret_access_key
            ).apply(
                lambda known: render.s3_conf(
                    provider=provider,
                    endpoint=known[0],
                    region=region,
                    access_key_id=known[1],
                    secret_access_key=known[2],
                )
            )
            after.append(
                HostStep(
                    f"{name}-storage",
                    host=relay.host,
                    script="storage_check",
                    values={
                        "ENDPOINT": vault.endpoint,
                        "REGION": vault.region,
                        "BUCKET": vault.bucket,
                        "PREFIX": render.storage_path(vault.prefix, source, args.generation).rpartition("/")[
                            0
                        ]
                        + "/",
                        "LOCK_MODE": vault.lock_mode,
                        "MINIMUM_DAYS": str(vault.lock_minimum_days),
                        "CA": vault.ca_certificate or "",
                        **({"PATIENCE": str(identity.settles_seconds)} if identity.settles_seconds else {}),
                    },
                    secrets={
                        "ACCESS_KEY_ID": identity.access_key_id,
                        "SECRET_ACCESS_KEY": identity.secret_access_key,
                    },
                    after=[*relay.ready, *vault.ready, *identity.ready],
                    opts=child,
                )
            )
        else:
            root = vault.path
            conf = pulumi.Output.from_input(vault.section).apply(render.section_conf)
        serve = render.serve_conf(
            source,
            path=render.storage_path(root, source, args.generation),
            limits=args.limits,
            s3=isinstance(vault, S3Vault),
            ca=isinstance(vault, S3Vault) and vault.ca_certificate is not None,
        )
        key_line = pulumi.Output.from_input(args.public_key).apply(
            lambda key: render.authorized_key(source, key, args.allowed_from)
        )
        entry = HostStep(
            f"{name}-account",
            host=relay.host,
            script="relay_entry",
            values={
                "SOURCE": source,
                "KEY_LINE": key_line,
                "SERVE": serve,
                "SESSIONS": str(args.limits.sessions),
                "DAILY_BYTES": args.limits.daily_bytes,
            },
            secrets={"RCLONE_CONF": conf},
            undo=True,
            after=after,
            opts=child,
        )
        self.ready = (entry,)
        self.account = entry.facts.apply(lambda facts: facts["account"])
        self.register_outputs({"account": self.account})
