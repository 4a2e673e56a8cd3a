"""Derives every name and address of a sandbox from its id, its network and a slot. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from sandbox.errors import SandboxError

Role = Literal["relay", "source"]

MACHINE_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
FIRST_SLOT_OFFSET = 10  # .1 gateway, .2 workstation, .3 storage; machines from .10 on
WIDEST, NARROWEST = 16, 27


def sandbox_id(directory: Path) -> str:
    """Eight hex digits that differ for each runtime folder; they mark everything that the sandbox creates."""
    return hashlib.sha256(str(directory).encode()).hexdigest()[:8]


def machine_name(name: str) -> str:
    """The name, if it can be a host name, a folder and part of a namespace's name."""
    if not MACHINE_NAME.fullmatch(name):
        raise SandboxError(
            f"machine name {name!r} is not allowed",
            where="--name",
            fix="use 1 to 40 of a-z, 0-9 and '-', starting with a letter, not ending with '-'",
        )
    return name


def refuse_change(made: SandboxMachine, role: Role, debian: int, tool: bool, directory: Path) -> None:
    """Raise if an existing machine was made with other properties."""
    if made.role != role:
        what, where = f"{made.name} is a {made.role}, not a {role}", "--role"
    elif made.debian != debian:
        what, where = f"{made.name} runs Debian {made.debian}, not {debian}", "--debian"
    elif made.tool != tool:
        what, where = f"{made.name} was made {'with' if made.tool else 'without'} its tool", "--no-tool"
    else:
        return
    fix = f"lastcopy sandbox machine-down --dir {directory} --name {made.name}, then create it again"
    raise SandboxError(what, where=where, fix=fix)


def parse_network(text: str) -> IPv4Network:
    """An IPv4 network that is large enough for the fixed hosts and at least a few machines."""
    fix = "choose a free IPv4 range such as 198.51.100.0/24"
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise SandboxError(f"not an IPv4 network: {error}", where="--network", fix=fix) from None
    if not WIDEST <= network.prefixlen <= NARROWEST:
        allowed = f"/{WIDEST} to /{NARROWEST}"
        raise SandboxError(f"{network} is not within {allowed}", where="--network", fix=fix)
    return network


@dataclass(frozen=True)
class SandboxMachine:
    """A machine as the network sees it, its release of Debian, and whether it comes with its role's tool."""

    name: str
    role: Role
    slot: int
    debian: int = 13
    tool: bool = True


@dataclass(frozen=True)
class AddressPlan:
    """The names and addresses of one sandbox."""

    id: str
    network: IPv4Network

    @property
    def prefix(self) -> str:
        """The prefix of the names of every namespace, unit and control group of this sandbox, and of no other."""
        return f"lc-{self.id}"

    @property
    def link(self) -> str:
        """The one interface in the workstation's own namespace (10 characters; the kernel allows 15)."""
        return f"lc{self.id}"

    @property
    def table(self) -> str:
        return f"lastcopy_{self.id}"

    @property
    def router_ns(self) -> str:
        return f"{self.prefix}_router"

    @property
    def storage_ns(self) -> str:
        return f"{self.prefix}_storage"

    def machine_ns(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    @property
    def gateway(self) -> IPv4Address:
        return self.network[1]

    @property
    def workstation(self) -> IPv4Address:
        return self.network[2]

    @property
    def storage(self) -> IPv4Address:
        return self.network[3]

    @property
    def slots(self) -> range:
        """The slots that fit before the broadcast address."""
        return range(self.network.num_addresses - 1 - FIRST_SLOT_OFFSET)

    def address(self, slot: int) -> IPv4Address:
        if slot not in self.slots:
            raise SandboxError(
                f"no address left for another machine in {self.network}",
                where="slots",
                fix="destroy the sandbox and create it with a wider --network",
            )
        return self.network[FIRST_SLOT_OFFSET + slot]

    @staticmethod
    def leg(slot: int) -> str:
        """The machine's interface inside the router."""
        return f"m{slot}"

    def first_free(self, taken: Iterable[int]) -> int:
        """The lowest free slot. Past the last one, `address` refuses it."""
        used = set(taken)
        return next((slot for slot in self.slots if slot not in used), len(self.slots))


def replaced_table(plan: AddressPlan, chains: str) -> str:
    """nft rules that put these chains into the sandbox's table in the place of all that it held, in one transaction."""
    return (
        f"table inet {plan.table}\ndelete table inet {plan.table}\ntable inet {plan.table} {{\n{chains}}}\n"
    )


def ruleset(plan: AddressPlan, machines: Iterable[SandboxMachine]) -> str:
    """The router's whole nft table, replaced in one transaction.

    By default everything is refused. A packet passes only with the source address of the link it came in by, and only from the workstation to machines,
    from a source to relays, and from a relay to the storage. Answers pass with their connection.
    """
    ordered = sorted(machines, key=lambda machine: machine.slot)
    address = {machine.name: str(plan.address(machine.slot)) for machine in ordered}
    relays = [address[machine.name] for machine in ordered if machine.role == "relay"]
    everyone = ", ".join(address.values())
    rules = ["ct state established,related accept"]
    if everyone:
        rules.append(f'iifname "host" ip saddr {plan.workstation} ip daddr {{ {everyone} }} accept')
    for machine in ordered:
        source = f'iifname "{plan.leg(machine.slot)}" ip saddr {address[machine.name]}'
        if machine.role == "relay":
            rules.append(f"{source} ip daddr {plan.storage} accept")
        elif relays:
            rules.append(f"{source} ip daddr {{ {', '.join(relays)} }} accept")
    rules.append("reject with icmpx admin-prohibited")  # answer at once instead of a time-out
    forward = "\n".join(f"    {rule}" for rule in rules)
    return replaced_table(
        plan,
        f"""\
  chain input {{
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "host" ip saddr {plan.workstation} icmp type echo-request accept
    reject with icmpx admin-prohibited
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
{forward}
  }}
""",
    )
