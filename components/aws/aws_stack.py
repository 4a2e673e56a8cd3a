"""What a stack has in AWS: from settings to components. Imported only where a stack asks for AWS: pulumi_aws is slow to load."""

from __future__ import annotations

from urllib.parse import urlsplit

import pulumi
from pulumi_aws import Provider, ProviderAssumeRoleArgs, ProviderDefaultTagsArgs, get_caller_identity

from components.aws.ec2_relay import Ec2Relay, Ec2RelayArgs
from components.host.host_step import Jump
from components.relay.source_account import storage_path
from components.settings import AwsAccount, AwsBucket, Ec2Vm, RcloneRemoteSection, S3Bucket, Settings, Source
from components.settings.problems import Problem
from components.settings.values import host_port
from components.vault.locked_bucket import LockedBucket, LockedBucketArgs, Transition
from components.vault.source_identity import SourceIdentity, SourceIdentityArgs
from components.vault.vault import S3Vault, StorageIdentity
from components.vault.vault_alarms import VaultAlarms, VaultAlarmsArgs

SETTLES_SECONDS = 120  # a new key works within seconds as a rule; AWS names no bound for IAM


class AwsStack:
    """Everything that one stack has in AWS, made with one explicit provider: no other account's credentials are taken.

    No resource of ours in AWS is made with the engine's default provider, which would take whatever the environment offers.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._account = _account(settings)
        provider = _provider(self._account, settings.environment)
        _refuse_without_session(self._account, provider)
        self._options = pulumi.ResourceOptions(provider=provider)

    def vault(self, made_elsewhere: dict[str, StorageIdentity]) -> S3Vault:
        """The locked bucket with an identity for every source; ``made_elsewhere`` are adopted as they are."""
        settings, place = self._settings, self._settings.storage
        if not isinstance(place, AwsBucket):
            raise AssertionError("asked for by a stack with storage.aws only")
        lock = place.lock
        bucket = LockedBucket(
            "vault",
            LockedBucketArgs(
                bucket=place.bucket,
                region=self._account.region,
                lock_mode=lock.mode,
                lock_days=lock.days,
                maximum_days=lock.cap(),
                break_glass=place.break_glass,
                kms_key=place.kms_key,
                transitions=tuple(
                    Transition(after_days=move.after_days, storage_class=move.class_)
                    for move in place.storage_classes
                ),
                origin=place.origin,
                purpose=place.purpose,
                prefix=f"{place.prefix}/" if place.prefix else "",
            ),
            self._options,
        )
        identities = {
            source.name: made_elsewhere.get(source.name) or self._identity(source, place, bucket)
            for source in settings.sources
        }
        if place.alarms is not None:
            rooms = {
                s.name: f"{storage_path(place.prefix, s.name, s.generation)}/snapshots/"
                for s in settings.sources
            }
            VaultAlarms(
                "vault-alarms",
                VaultAlarmsArgs(
                    bucket=place.bucket,
                    account=self._account.account,
                    rooms=rooms,
                    email=place.alarms.email,
                    topic=place.alarms.topic,
                    silent_hours={
                        s.name: place.alarms.silent_hours or s.silent_hours for s in settings.sources
                    },
                    growth_gib_per_day=place.alarms.growth_gib_per_day,
                    after=bucket.ready,
                ),
                self._options,
            )
        return S3Vault(
            endpoint=bucket.endpoint,
            region=self._account.region,
            bucket=place.bucket,
            provider="AWS",
            prefix=place.prefix,
            lock_mode=lock.mode,
            lock_minimum_days=lock.days,
            identities=identities,
            ready=bucket.ready,
            arn=bucket.arn,
            account=self._account.account,
            purpose=place.purpose,
        )

    def _identity(self, source: Source, place: AwsBucket, bucket: LockedBucket) -> StorageIdentity:
        made = SourceIdentity(
            f"vault-identity-{source.name}",
            SourceIdentityArgs(
                source=source.name,
                bucket=place.bucket,
                room=storage_path(place.prefix, source.name, 1).removesuffix("g1"),
                generation=source.identity_generation,
                kms_key=place.kms_key,
                after=bucket.ready,
            ),
            self._options,
        )
        return StorageIdentity(
            access_key_id=made.access_key_id,
            secret_access_key=made.secret_access_key,
            ready=made.ready,
            settles_seconds=SETTLES_SECONDS,
        )

    def relay(self, private_key: pulumi.Input[str] | None, jump: Jump | None) -> Ec2Relay:
        """The relay's machine; ``private_key`` is the admin's, None where the ssh agent holds it; ``jump``: the admin's jump host."""
        place = self._settings.intermediate
        if not isinstance(place, Ec2Vm):
            raise AssertionError("asked for by a stack with intermediate.ec2 only")
        return Ec2Relay(
            "relay-machine",
            Ec2RelayArgs(
                region=self._account.region,
                generation=place.generation,
                instance_type=place.instance_type,
                architecture=place.architecture(),
                ami=place.ami,
                disk_gib=place.disk_gib,
                admin_public_key=place.admin_public_key,
                network=place.network,
                subnet=place.subnet,
                admins_from=place.admins_from,
                sources_from=place.sources_from,
                door=place.door,
                alarm_email=place.alarm_email,
                private_key=private_key,
                jump=jump,
                purpose="production" if self._settings.protect else "test",
                storage_ports=_storage_ports(self._settings),
                open_to_all_because=place.open_to_all_because,
            ),
            self._options,
        )


def _account(settings: Settings) -> AwsAccount:
    if settings.aws is None:
        raise AssertionError("settings refuse parts in AWS without an account")
    return settings.aws


def _provider(account: AwsAccount, environment: str) -> Provider:
    tags = {"lastcopy:project": pulumi.get_project(), "lastcopy:stack": pulumi.get_stack()}
    role = account.assume_role
    return Provider(
        "aws",
        region=account.region,
        allowed_account_ids=[account.account],
        profile=account.profile,
        # Typed on purpose: a plain dict goes out as it is, `role_arn`, which the provider does not know.
        assume_roles=None if role is None else [ProviderAssumeRoleArgs(role_arn=role)],
        default_tags=ProviderDefaultTagsArgs(tags={**tags, "lastcopy:environment": environment}),
    )


def _storage_ports(settings: Settings) -> tuple[int, ...]:
    """The TCP ports at which the relay reaches the storage."""
    match settings.storage:
        case S3Bucket() as s3:
            return (host_port(urlsplit(s3.endpoint).netloc, default=443).port,)
        case RcloneRemoteSection() as remote:
            return tuple(sorted({host_port(egress).port for egress in remote.egress}))
        case _:
            return (443,)


def _refuse_without_session(account: AwsAccount, provider: Provider) -> None:
    """One question before any resource exists: else every resource would fail with AWS's own words for it."""
    try:
        get_caller_identity(opts=pulumi.InvokeOptions(provider=provider))
    except Exception as error:
        problem = Problem(
            where="lastcopy:aws",
            what=f"AWS does not take this shell's credentials, or they are of another account: {_first_line(error)}",
            allowed=f"a valid session of account {account.account}",
            fix='eval "$(aws configure export-credentials --profile deploy --format env)"\n'
            "and see who you are: aws sts get-caller-identity",
        )
        raise pulumi.RunError(f"Nothing was changed.\n\n{problem}") from None


def _first_line(error: Exception) -> str:
    """The provider's own sentence, without the engine's frame around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
