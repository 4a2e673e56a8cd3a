"""Ransomware-safe restic backups: source --ssh, forced command--> relay --> storage with Object Lock. See docs/architecture.md."""

import pulumi

from components.host.programs import RELAY_AREAS, SOURCE_AREAS, Programs
from components.infrastructure import create_infrastructure
from components.relay.firewall.relay_firewall import RelayFirewall, RelayFirewallArgs
from components.relay.service.rclone_remote import RcloneRemote, RcloneRemoteArgs
from components.relay.sshd.hardened_sshd import HardenedSshd, HardenedSshdArgs
from components.settings import list_warnings, load_settings
from components.source.protected_source import ProtectedSource, ProtectedSourceArgs
from components.source_positions import omit_source_positions

omit_source_positions()
settings = load_settings()  # reports all problems at once, before any resource exists
infrastructure = create_infrastructure(settings)
vault = infrastructure.vault
programs = Programs("programs")
relay_host = programs.send_to(infrastructure.relay, RELAY_AREAS)
source_hosts = {
    name: None if host is None else programs.send_to(host, SOURCE_AREAS)
    for name, host in infrastructure.sources.items()
}

sshd = HardenedSshd(
    "relay-sshd",
    HardenedSshdArgs(
        host=relay_host,
        admin_user=relay_host.user,
        second_factor=settings.admin.second_factor,
        people=settings.admin.people,
        listen_port=infrastructure.sshd_port,
    ),
)
firewall = RelayFirewall(
    "relay-firewall",
    RelayFirewallArgs(
        host=relay_host,
        vault=vault,
        ssh_port=infrastructure.sshd_port,
        directory=infrastructure.directory,
        vpn_ports=infrastructure.vpn_ports,
    ),
    pulumi.ResourceOptions(depends_on=[sshd]),
)
relay = RcloneRemote(
    "relay", RcloneRemoteArgs(host=relay_host, vault=vault), pulumi.ResourceOptions(depends_on=[firewall])
)
sources = {
    source.name: ProtectedSource(
        source.name,
        ProtectedSourceArgs(
            source=source,
            host=source_hosts[source.name],
            relay=relay,
            relay_endpoint=infrastructure.relay_endpoint,
            protect=settings.protect,
        ),
    )
    for source in settings.sources
}

for warning in list_warnings(settings):
    pulumi.log.warn(warning)
pulumi.export("relay", relay_host.summary())
pulumi.export("vault", vault.summary())
pulumi.export("sources", {name: source.summary for name, source in sources.items()})
pulumi.export("passwords", {name: source.password for name, source in sources.items()})
pulumi.export(
    "enrolmentScripts",
    {name: source.enrolment_script for name, source in sources.items() if source.enrolment_script},
)
