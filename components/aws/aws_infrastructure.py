"""Creates the components of a stack on AWS from its settings. Imported only if a stack uses AWS, because pulumi_aws loads slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import pulumi
from pulumi_aws import Provider, ProviderAssumeRoleArgs, ProviderDefaultTagsArgs, get_caller_identity

from components.aws.ec2_relay import Ec2Relay, Ec2RelayArgs
from components.host.configured_host import jump, private_key
from components.relay.entry.source_account_files import storage_path
from components.settings import AwsAccount, AwsBucket, Ec2Vm, RcloneRemoteSection, S3Bucket, Settings, Source
from components.settings.aws_bucket import Alarms
from components.settings.problems import Problem
from components.settings.values import parse_host_port
from components.vault.alarms.vault_alarms import VaultAlarms, VaultAlarmsArgs
from components.vault.bucket.lifecycle import Transition
from components.vault.bucket.locked_bucket import LockedBucket, LockedBucketArgs
from components.vault.identities.source_identity import SourceIdentity, SourceIdentityArgs
from components.vault.vault_access import S3Vault, StorageIdentity

SETTLES_SECONDS = 120  # a new key usually works within seconds, but AWS gives no upper limit


def open_account(account: AwsAccount, environment: str) -> pulumi.ResourceOptions:
    """The options for every resource on AWS: an explicit provider, which refuses other accounts' credentials.

    The engine's default provider would use whatever the environment offers.

    Raises:
        pulumi.RunError: this shell has no valid session of the account; no resource on AWS was registered.
    """
    tags = {"lastcopy:project": pulumi.get_project(), "lastcopy:stack": pulumi.get_stack()}
    role = account.assume_role
    provider = Provider(
        "aws",
        region=account.region,
        allowed_account_ids=[account.account],
        profile=account.profile,
        # Typed, because a plain dict would be sent as it is, and the provider does not know `role_arn`.
        assume_roles=None if role is None else [ProviderAssumeRoleArgs(role_arn=role)],
        default_tags=ProviderDefaultTagsArgs(tags={**tags, "lastcopy:environment": environment}),
    )
    _refuse_without_session(account, provider)
    return pulumi.ResourceOptions(provider=provider)


def _refuse_without_session(account: AwsAccount, provider: Provider) -> None:
    """Ask AWS once before any resource exists: otherwise every resource would fail with AWS's own error message."""
    try:
        get_caller_identity(opts=pulumi.InvokeOptions(provider=provider))
    except Exception as error:
        problem = Problem(
            where="lastcopy:aws",
            what=f"AWS does not accept this shell's credentials, or they belong to another account: {_first_line(error)}",
            allowed=f"a valid session of account {account.account}",
            fix='eval "$(aws configure export-credentials --profile deploy --format env)"\n'
            "and see who you are: aws sts get-caller-identity",
        )
        raise pulumi.RunError(f"Nothing was changed.\n\n{problem}") from None


def _first_line(error: Exception) -> str:
    """The provider's own message, without the engine's text around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def create_vault(
    account: AwsAccount,
    storage: AwsBucket,
    sources: Sequence[Source],
    made_elsewhere: Mapping[str, StorageIdentity],
    options: pulumi.ResourceOptions,
) -> S3Vault:
    """The locked bucket, its alarms, and an identity for every source; ``made_elsewhere`` are used as they are."""
    bucket = _create_bucket(account, storage, options)
    identities = {
        source.name: made_elsewhere.get(source.name) or _create_identity(storage, source, bucket, options)
        for source in sources
    }
    if storage.alarms is not None:
        _create_alarms(account, storage, storage.alarms, sources, bucket, options)
    return S3Vault(
        endpoint=bucket.endpoint,
        region=account.region,
        bucket=storage.bucket,
        provider="AWS",
        prefix=storage.prefix,
        lock_mode=storage.lock.mode,
        lock_minimum_days=storage.lock.days,
        identities=identities,
        ready=[bucket],
        arn=bucket.arn,
        account=account.account,
        purpose=storage.purpose,
    )


def _create_bucket(account: AwsAccount, storage: AwsBucket, options: pulumi.ResourceOptions) -> LockedBucket:
    return LockedBucket(
        "vault",
        LockedBucketArgs(
            bucket=storage.bucket,
            region=account.region,
            lock_mode=storage.lock.mode,
            lock_days=storage.lock.days,
            maximum_days=storage.lock.cap(),
            break_glass=storage.break_glass,
            kms_key=storage.kms_key,
            transitions=tuple(
                Transition(after_days=move.after_days, storage_class=move.class_)
                for move in storage.storage_classes
            ),
            origin=storage.origin,
            purpose=storage.purpose,
            prefix=f"{storage.prefix}/" if storage.prefix else "",
        ),
        options,
    )


def _create_identity(
    storage: AwsBucket, source: Source, bucket: LockedBucket, options: pulumi.ResourceOptions
) -> StorageIdentity:
    identity = SourceIdentity(
        f"vault-identity-{source.name}",
        SourceIdentityArgs(
            source=source.name,
            bucket=storage.bucket,
            prefix=storage_path(storage.prefix, source.name, 1).removesuffix("g1"),
            generation=source.identity_generation,
            kms_key=storage.kms_key,
        ),
        _after(bucket, options),
    )
    return StorageIdentity(
        access_key_id=identity.access_key_id,
        secret_access_key=identity.secret_access_key,
        ready=[identity],
        settles_seconds=SETTLES_SECONDS,
    )


def _create_alarms(
    account: AwsAccount,
    storage: AwsBucket,
    alarms: Alarms,
    sources: Sequence[Source],
    bucket: LockedBucket,
    options: pulumi.ResourceOptions,
) -> None:
    VaultAlarms(
        "vault-alarms",
        VaultAlarmsArgs(
            bucket=storage.bucket,
            account=account.account,
            snapshots={
                source.name: f"{storage_path(storage.prefix, source.name, source.generation)}/snapshots/"
                for source in sources
            },
            email=alarms.email,
            topic=alarms.topic,
            silent_hours={source.name: alarms.silent_hours or source.silent_hours for source in sources},
            growth_gib_per_day=alarms.growth_gib_per_day,
        ),
        _after(bucket, options),
    )


def _after(first: pulumi.Resource, options: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[first]))


def create_relay_machine(
    settings: Settings, account: AwsAccount, machine: Ec2Vm, options: pulumi.ResourceOptions
) -> Ec2Relay:
    """The relay's machine, to which the admin's key gives access."""
    admin = settings.admin
    return Ec2Relay(
        "relay-machine",
        Ec2RelayArgs(
            region=account.region,
            generation=machine.generation,
            instance_type=machine.instance_type,
            architecture=machine.architecture(),
            ami=machine.ami,
            disk_gib=machine.disk_gib,
            admin_public_key=machine.admin_public_key,
            network=machine.network,
            subnet=machine.subnet,
            admins_from=machine.admins_from,
            sources_from=machine.sources_from,
            operators_by=machine.door,
            alarm_email=machine.alarm_email,
            private_key=private_key(admin),
            jump=None if admin.jump_host is None else jump(admin.jump_host, admin),
            purpose="production" if settings.protect else "test",
            storage_ports=_storage_ports(settings),
            open_to_all_because=machine.open_to_all_because,
        ),
        options,
    )


def _storage_ports(settings: Settings) -> tuple[int, ...]:
    """The TCP ports at which the relay reaches the storage."""
    match settings.storage:
        case S3Bucket() as s3:
            return (parse_host_port(urlsplit(s3.endpoint).netloc, default=443).port,)
        case RcloneRemoteSection() as remote:
            return tuple(sorted({parse_host_port(egress).port for egress in remote.egress}))
        case _:
            return (443,)
