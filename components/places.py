"""Places: from settings to hosts and vault. The only module that knows which kind of place a stack asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
from pydantic import SecretStr

from components.host.host_step import Host, Jump
from components.relay.hardened_sshd import Person
from components.sandbox.local_sandbox import LocalSandbox, LocalSandboxArgs, MachineKind
from components.settings import (
    Admin,
    AwsBucket,
    Ec2Vm,
    ExistingHost,
    Identity,
    JumpHost,
    ManagedHost,
    RcloneRemoteSection,
    S3Bucket,
    SandboxSource,
    SandboxVault,
    SandboxVm,
    Settings,
    Source,
    UnmanagedSource,
)
from components.vault.vault import RcloneVault, S3Vault, StorageIdentity, Vault

if TYPE_CHECKING:
    from components.aws.aws_stack import AwsStack
    from components.aws.ec2_relay import Ec2Relay


class Places:
    """Every host and the vault of one stack; the same answers whether they stand in a data centre or in the sandbox.

    No resources of its own except the sandbox and what stands in AWS, and those only where the stack asks for them.
    """

    sandbox: LocalSandbox | None = None
    aws: AwsStack | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Settings refuse a half sandbox, so either both are the sandbox's or neither is.
        if isinstance(settings.intermediate, SandboxVm) and isinstance(settings.storage, SandboxVault):
            self.sandbox = LocalSandbox(
                "sandbox",
                LocalSandboxArgs(
                    directory=Path.cwd() / ".local" / "sandbox" / pulumi.get_stack(),
                    network=settings.sandbox.network,
                    driver=settings.sandbox.driver,
                    machines=tuple(s.name for s in settings.sources if isinstance(s.host, SandboxSource)),
                    rooms=tuple(s.name for s in settings.sources),
                    lock_mode=settings.storage.lock_mode,
                    lock_days=settings.storage.lock_days,
                    kinds=_kinds(settings.intermediate, settings.sources),
                ),
            )
        if settings.aws is not None:
            from components.aws.aws_stack import (
                AwsStack,
            )  # here: pulumi_aws is slow, and most stacks do without

            self.aws = AwsStack(settings)

    def _aws(self) -> AwsStack:
        if self.aws is None:
            raise AssertionError("settings refuse parts in AWS without an account, so there is one here")
        return self.aws

    @cached_property
    def _ec2(self) -> Ec2Relay:
        admin = self._settings.admin
        jump = None if admin.jump_host is None else _jump(admin.jump_host, admin)
        return self._aws().relay(_private_key(admin), jump)

    def _sandbox(self) -> LocalSandbox:
        if self.sandbox is None:
            raise AssertionError("settings refuse sandbox members beside others, so there is a sandbox here")
        return self.sandbox

    def relay(self) -> Host:
        """The intermediate: where the relay runs."""
        place = self._settings.intermediate
        if isinstance(place, SandboxVm):
            return self._sandbox().relay
        if isinstance(place, Ec2Vm):
            return self._ec2.host
        admin = self._settings.admin
        return self._own("relay", place, admin.user, _private_key(admin))

    def _own(
        self, name: str, place: ExistingHost | ManagedHost, user: str, key: pulumi.Output[str] | None
    ) -> Host:
        """A host of the operator's own, through its jump host where it has one."""
        jump = self._settings.jump_host(place)
        return Host(
            name=name,
            address=place.address,
            port=place.port,
            user=user,
            host_key=place.host_key,
            private_key=key,
            jump=None if jump is None else _jump(jump, self._settings.admin),
            # Once from a jump host: its kernel tries for two minutes where nothing answers, and the plugin repeats a failed handshake
            # on the same broken connection, which hides that the host key was another one (A1).
            dials=0 if jump is not None else Host.dials,
            fetches=place.tools_from == "makers",
        )

    def relay_sshd_port(self) -> int:
        """The port of the relay's own sshd; a tunnel or a port mapping may show it to this workstation as another one."""
        place = self._settings.intermediate
        return place.ssh_port if isinstance(place, ExistingHost) else 22

    def directory(self) -> tuple[str, ...]:
        """The servers that the relay's accounts come from."""
        place = self._settings.intermediate
        return place.directory if isinstance(place, ExistingHost) else ()

    def vpn_ports(self) -> tuple[int, ...]:
        """UDP ports of the relay on which a VPN ends that log-ins come through."""
        place = self._settings.intermediate
        return place.vpn_ports if isinstance(place, ExistingHost) else ()

    def people(self) -> tuple[Person, ...]:
        """Who may open tunnels to the relay."""
        return tuple(
            Person(
                name=person.name,
                public_keys=person.public_keys,
                totp_secret=None if person.totp_secret is None else _secret(person.totp_secret),
            )
            for person in self._settings.admin.people
        )

    def relay_as_sources_see_it(self) -> tuple[pulumi.Input[str], pulumi.Input[int]]:
        """Address and port that a source dials; often, but not always, those that the admin dials."""
        place = self._settings.intermediate
        if isinstance(place, ExistingHost):
            seen = place.as_sources_see_it()
            return seen.address, seen.port
        if isinstance(place, Ec2Vm):
            return self._ec2.seen_by_sources
        relay = self.relay()
        return relay.address, relay.port

    def source(self, source: Source) -> Host | None:
        """The source's host, or None for one that the admin cannot reach: it gets an enrolment script."""
        match source.host:
            case SandboxSource():
                return self._sandbox().hosts[source.name]
            case ManagedHost() as host:
                key = _private_key(self._settings.admin, host.private_key_file)
                return self._own(source.name, host, host.user, key)
            case UnmanagedSource():
                return None

    def vault(self) -> Vault:
        """Where the objects end."""
        match self._settings.storage:
            case SandboxVault():
                return self._sandbox().vault
            case S3Bucket() as s3:
                return S3Vault(
                    endpoint=s3.endpoint,
                    region=s3.region,
                    bucket=s3.bucket,
                    provider=s3.provider,
                    checksum=s3.checksum,
                    prefix=s3.prefix,
                    ca_certificate=s3.ca_certificate,
                    lock_mode=s3.lock.mode,
                    lock_minimum_days=s3.lock.minimum_days,
                    identities=self._identities(),
                    shared_identity=None if s3.identity is None else _identity(s3.identity),
                    accepted_losses=s3.accepted_losses,
                )
            case AwsBucket():
                return self._aws().vault(self._identities())
            case RcloneRemoteSection() as remote:
                return RcloneVault(
                    section=_secret(remote.section),
                    path=remote.path,
                    egress=tuple(str(e) for e in remote.egress),
                )

    def _identities(self) -> dict[str, StorageIdentity]:
        """The identities that were made elsewhere and stand in the settings."""
        return {s.name: _identity(s.identity) for s in self._settings.sources if s.identity is not None}


def _kinds(relay: SandboxVm, sources: Sequence[Source]) -> dict[str, MachineKind]:
    """How the sandbox's machines are made."""
    made: dict[str, SandboxVm | SandboxSource] = {"relay": relay}
    made |= {s.name: s.host for s in sources if isinstance(s.host, SandboxSource)}
    return {
        name: MachineKind(debian=place.debian, fetches=place.tools_from == "makers")
        for name, place in made.items()
    }


def _secret(value: SecretStr) -> pulumi.Output[str]:
    """The one way out of settings for a secret: it stays one from here on."""
    return pulumi.Output.secret(value.get_secret_value())


def _identity(identity: Identity) -> StorageIdentity:
    return StorageIdentity(
        access_key_id=identity.access_key_id,
        secret_access_key=_secret(identity.secret_access_key),
    )


def _jump(jump: JumpHost, admin: Admin) -> Jump:
    return Jump(
        address=jump.address,
        port=jump.port,
        user=jump.user or admin.user,
        host_key=jump.host_key,
        private_key=_private_key(admin, jump.private_key_file),
    )


def _private_key(admin: Admin, override: str | None = None) -> pulumi.Output[str] | None:
    """The admin's private key as a secret, or None where the ssh agent holds it."""
    path = override or admin.private_key_file
    if path is not None:
        return pulumi.Output.secret(Path(path).expanduser().read_text())
    if admin.private_key is not None:
        return _secret(admin.private_key)
    return None
