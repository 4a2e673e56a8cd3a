"""The relay's nftables rules. Pure text, no engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from components.relay.firewall.endpoints import Endpoint

# The accounts besides root that may fetch updates, names and the time: those of Debian's packages for that, of resolvers, DHCP clients and directories.
UPDATERS = (
    "_apt", "systemd-timesync", "systemd-resolve", "systemd-network", "_chrony", "chrony", "ntp", "ntpsec", "openntpd",
    "dhcpcd", "_dhcpcd", "unbound", "dnsmasq", "bind", "pdns", "knot-resolver", "stubby", "sssd", "nslcd",
)  # fmt: skip


def updater_lines() -> str:
    """Their names, one a line, for the host to look up."""
    return "".join(f"{account}\n" for account in UPDATERS)


def firewall_rules(
    endpoints: Iterable[Endpoint],
    ssh_port: int,
    instance_metadata: Literal["open", "closed"] = "open",
    directory: Iterable[Endpoint] = (),
    vpn_ports: Sequence[int] = (),
) -> str:
    """The whole table, replaced in one transaction. ``accounts.nft`` (made on the host) defines $updaters and $sources as numbers.

    ``instance_metadata``: whether root may ask the cloud's metadata service. Sources' processes never may. ``directory``: addresses of the servers
    that the host's accounts come from. ``vpn_ports``: UDP ports of this host for VPNs that carry logins.
    """
    servers = tuple(directory)
    return f"""\
# Made by lastcopy (RelayFirewall).
include "/etc/lastcopy/firewall/accounts.nft"
table inet lastcopy
delete table inet lastcopy
table inet lastcopy {{
{_storage_sets(tuple(endpoints))}{_directory_sets(servers)}{_UPDATERS_SET}
{_input_chain(ssh_port, vpn_ports)}{_FORWARD_AND_SOURCES_CHAINS}\
{_output_chain(ssh_port, vpn_ports, metadata=instance_metadata == "open", directory=bool(servers))}}}
"""


_UPDATERS_SET = """\
  # Accounts that come later join it within a minute.
  set updaters {
    type uid
    elements = $updaters
  }
"""

_FORWARD_AND_SOURCES_CHAINS = """\
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
  # What a source's process opens: the storage, nothing else; not even this host itself or its names.
  chain of_sources {
    ip daddr 169.254.0.0/16 counter reject with icmpx admin-prohibited
    ip6 daddr { fe80::/10, fd00:ec2::/32 } counter reject with icmpx admin-prohibited
    ip daddr . tcp dport @storage4 accept
    ip6 daddr . tcp dport @storage6 accept
    ip daddr . tcp dport @looked_up4 accept
    ip6 daddr . tcp dport @looked_up6 accept
    counter reject with icmpx admin-prohibited
  }
"""

# Only its own addresses: time and names come from other link-local addresses.
_NO_METADATA = """\
    ip daddr 169.254.169.254 counter reject with icmpx admin-prohibited
    ip6 daddr fd00:ec2::254 counter reject with icmpx admin-prohibited
"""

_DIRECTORY = """\
    meta skuid @updaters ip daddr . tcp dport @directory4 accept
    meta skuid @updaters ip daddr . udp dport @directory4 accept
    meta skuid @updaters ip6 daddr . tcp dport @directory6 accept
    meta skuid @updaters ip6 daddr . udp dport @directory6 accept
"""


def _storage_sets(endpoints: Sequence[Endpoint]) -> str:
    return "".join(
        f"""  # Fixed addresses; looked-up ones join the second set and leave it a day after DNS stopped naming them.
  set storage{version} {{
    type {kind} . inet_service{elements}
  }}
  set looked_up{version} {{
    type {kind} . inet_service
    flags timeout
  }}
"""
        for version, kind, elements in _fixed_addresses(endpoints)
    )


def _directory_sets(servers: Sequence[Endpoint]) -> str:
    if not servers:
        return ""
    return "  # Where the host's accounts come from.\n" + "".join(
        f"  set directory{version} {{\n    type {kind} . inet_service{elements}\n  }}\n"
        for version, kind, elements in _fixed_addresses(servers)
    )


def _fixed_addresses(endpoints: Sequence[Endpoint]) -> Iterator[tuple[int, str, str]]:
    """For each version of IP: its number, nft's type of its addresses, and the line with the known addresses."""
    known = sorted({(one.literal, one.port) for one in endpoints if one.literal is not None}, key=str)
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        fixed = ", ".join(f"{address} . {port}" for address, port in known if address.version == version)
        yield version, kind, f"\n    elements = {{ {fixed} }}" if fixed else ""


def _input_chain(ssh_port: int, vpn_ports: Sequence[int]) -> str:
    vpn = f"    udp dport {{ {_listed(vpn_ports)} }} accept\n" if vpn_ports else ""
    return f"""\
  chain input {{
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    ct state invalid drop
    tcp dport {ssh_port} accept
{vpn}    icmp type {{ echo-request, destination-unreachable, time-exceeded, parameter-problem }} limit rate 50/second accept
    icmpv6 type {{ echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} limit rate 50/second accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, mld-listener-query }} accept
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
  }}
"""


def _output_chain(ssh_port: int, vpn_ports: Sequence[int], *, metadata: bool, directory: bool) -> str:
    # WireGuard's packets come from the kernel and have no account; those of accounts other than root are refused.
    vpn = (
        f"    meta skuid != 0 udp sport {{ {_listed(vpn_ports)} }} counter drop\n"
        f"    udp sport {{ {_listed(vpn_ports)} }} accept\n"
        if vpn_ports
        else ""
    )
    return f"""\
  chain output {{
    type filter hook output priority filter; policy drop;
    meta skgid $sources goto of_sources
    oif lo accept
    ct state established,related accept
    # Logins that are older than these rules: until their next packet comes in, the kernel takes their answers for new connections.
    meta skuid 0 tcp sport {ssh_port} accept
    icmp type {{ echo-request, echo-reply }} accept
    icmpv6 type {{ echo-request, echo-reply, nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report }} accept
{vpn}{"" if metadata else _NO_METADATA}    meta skuid 0 ip daddr . tcp dport @storage4 accept
    meta skuid 0 ip6 daddr . tcp dport @storage6 accept
    meta skuid 0 ip daddr . tcp dport @looked_up4 accept
    meta skuid 0 ip6 daddr . tcp dport @looked_up6 accept
    # DNS, also over TLS; DHCP; the time, also with NTS; updates.
    meta skuid @updaters udp dport {{ 53, 67, 123, 547 }} accept
    meta skuid @updaters tcp dport {{ 53, 80, 443, 853, 4460 }} accept
{_DIRECTORY if directory else ""}  }}
"""


def _listed(ports: Sequence[int]) -> str:
    return ", ".join(str(port) for port in sorted(set(ports)))
