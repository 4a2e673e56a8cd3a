"""Ransomware-safe restic backups: source --ssh, forced command--> relay --> storage with Object Lock. See docs/architecture.md."""

import pulumi

from components.places import Places
from components.relay.hardened_sshd import HardenedSshd, HardenedSshdArgs
from components.relay.rclone_remote import RcloneRemote, RcloneRemoteArgs
from components.relay.relay_firewall import RelayFirewall, RelayFirewallArgs
from components.settings import load_settings
from components.source.protected_source import ProtectedSource, ProtectedSourceArgs

settings = load_settings()  # every problem at once, before any resource exists
places = Places(settings)  # where things stand: own hosts, or the sandbox
vault = places.vault()  # where objects end, and who may do what there
host = places.relay()  # reached with a host key that is pinned from the first dial

sshd = HardenedSshd(  # who may come in, and how
    "relay-sshd",
    HardenedSshdArgs(
        host=host,
        admin_user=host.user,
        second_factor=settings.admin.second_factor,
        people=places.people(),
        listen_port=places.relay_sshd_port(),
    ),
)
firewall = RelayFirewall(  # what may leave, account by account
    "relay-firewall",
    RelayFirewallArgs(
        host=host,
        vault=vault,
        ssh_port=places.relay_sshd_port(),
        directory=places.directory(),
        vpn_ports=places.vpn_ports(),
        after=sshd.ready,
    ),
)
relay = RcloneRemote(  # the append-only service that stands between
    "relay", RcloneRemoteArgs(host=host, vault=vault, after=firewall.ready)
)
rooms = {  # one room per source: key, entry, identity, repository, schedule
    source.name: ProtectedSource(
        source.name,
        ProtectedSourceArgs(
            source=source,
            host=places.source(source),
            relay=relay,
            seen_at=places.relay_as_sources_see_it(),
            protect=settings.protect,
        ),
    )
    for source in settings.sources
}

for warning in settings.warnings():
    pulumi.log.warn(warning)
pulumi.export("relay", host.summary())
pulumi.export("vault", vault.summary())
pulumi.export("sources", {name: room.summary for name, room in rooms.items()})
pulumi.export("passwords", {name: room.password for name, room in rooms.items()})
pulumi.export(
    "enrolmentScripts", {name: room.enrolment_script for name, room in rooms.items() if room.enrolment_script}
)
