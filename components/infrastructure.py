"""Creates or finds the parts of a stack: the relay's host, the vault and the sources' hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi

from components.host.configured_host import configured_relay, configured_source
from components.host.connection import Host
from components.sandbox.local_sandbox import LocalSandbox, LocalSandboxArgs, MachineKind
from components.settings import (
    AwsAccount,
    AwsBucket,
    Ec2Vm,
    ExistingHost,
    ManagedHost,
    RcloneRemoteSection,
    S3Bucket,
    SandboxSource,
    SandboxVault,
    SandboxVm,
    Settings,
)
from components.source.enrolment.source_enrolment import RelayEndpoint
from components.vault.configured_vault import configured_identities, configured_vault
from components.vault.vault_access import Vault


@dataclass(frozen=True, kw_only=True)
class Infrastructure:
    """The machines and the storage of one stack, created by the program or existing before.

    ``relay`` is the relay's host as the operator reaches it, ``relay_endpoint`` its address for the sources. ``sources`` maps each source's name to
    its host, or to None if the operator cannot reach it. ``sshd_port`` is the port on which the relay's sshd listens, which may differ from the
    operator's behind a tunnel or a port mapping. ``directory`` lists the servers (``address:port``) that the relay's accounts come from;
    ``vpn_ports`` the relay's UDP ports of VPNs that logins come through.
    """

    relay: Host
    relay_endpoint: RelayEndpoint
    vault: Vault
    sources: Mapping[str, Host | None]
    sshd_port: int = 22
    directory: tuple[str, ...] = ()
    vpn_ports: tuple[int, ...] = ()


def create_infrastructure(settings: Settings) -> Infrastructure:
    """Create what the settings ask for in the sandbox or on AWS, and use existing hosts and storage for the rest.

    Raises:
        ValueError: for combinations that ``load_settings`` already refuses, with a better error.
    """
    match settings:
        case Settings(intermediate=SandboxVm() as machine, storage=SandboxVault() as storage):
            return _in_sandbox(settings, machine, storage)
        case Settings(
            aws=AwsAccount() as account,
            intermediate=(ExistingHost() | Ec2Vm()) as machine,
            storage=(AwsBucket() | S3Bucket() | RcloneRemoteSection()) as storage,
        ):
            return _in_aws(settings, account, machine, storage)
        case Settings(
            intermediate=ExistingHost() as machine, storage=(S3Bucket() | RcloneRemoteSection()) as storage
        ):
            return _on_existing_hosts(settings, machine, configured_vault(storage, settings.sources))
    raise ValueError(
        "parts in AWS need lastcopy:aws, and a sandbox holds the relay, the storage and the sources"
    )


def _on_existing_hosts(settings: Settings, machine: ExistingHost, vault: Vault) -> Infrastructure:
    seen = machine.as_sources_see_it()
    return Infrastructure(
        relay=configured_relay(settings, machine),
        relay_endpoint=RelayEndpoint(address=seen.address, port=seen.port, host_key=machine.host_key),
        vault=vault,
        sources=_source_hosts(settings),
        sshd_port=machine.ssh_port,
        directory=machine.directory,
        vpn_ports=machine.vpn_ports,
    )


def _in_aws(
    settings: Settings,
    account: AwsAccount,
    machine: ExistingHost | Ec2Vm,
    storage: AwsBucket | S3Bucket | RcloneRemoteSection,
) -> Infrastructure:
    # Imported here only: pulumi_aws loads slowly, and most stacks do not need it.
    from components.aws import aws_infrastructure as aws

    options = aws.open_account(account, settings.environment)
    vault = (
        aws.create_vault(account, storage, settings.sources, configured_identities(settings.sources), options)
        if isinstance(storage, AwsBucket)
        else configured_vault(storage, settings.sources)
    )
    match machine:
        case ExistingHost():
            return _on_existing_hosts(settings, machine, vault)
        case Ec2Vm():
            relay = aws.create_relay_machine(settings, account, machine, options)
            address, port = relay.seen_by_sources
            return Infrastructure(
                relay=relay.host,
                relay_endpoint=RelayEndpoint(address=address, port=port, host_key=relay.host.host_key),
                vault=vault,
                sources=_source_hosts(settings),
            )


def _source_hosts(settings: Settings) -> dict[str, Host | None]:
    return {
        source.name: configured_source(settings, source.name, source.host)
        if isinstance(source.host, ManagedHost)
        else None
        for source in settings.sources
    }


def _in_sandbox(settings: Settings, machine: SandboxVm, storage: SandboxVault) -> Infrastructure:
    names = tuple(source.name for source in settings.sources)
    machines = {
        source.name: source.host for source in settings.sources if isinstance(source.host, SandboxSource)
    }
    sandbox = LocalSandbox(
        "sandbox",
        LocalSandboxArgs(
            directory=Path.cwd() / ".local" / "sandbox" / pulumi.get_stack(),
            network=settings.sandbox.network,
            driver=settings.sandbox.driver,
            machines=tuple(machines),
            sources=names,
            lock_mode=storage.lock_mode,
            lock_days=storage.lock_days,
            kinds={"relay": _kind(machine), **{name: _kind(one) for name, one in machines.items()}},
        ),
    )
    relay = sandbox.relay
    return Infrastructure(
        relay=relay,
        relay_endpoint=RelayEndpoint(address=relay.address, port=relay.port, host_key=relay.host_key),
        vault=sandbox.vault,
        sources={name: sandbox.hosts.get(name) for name in names},
    )


def _kind(machine: SandboxVm | SandboxSource) -> MachineKind:
    return MachineKind(debian=machine.debian, fetches=machine.tools_from == "makers")
