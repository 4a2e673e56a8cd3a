"""The private network: each host has a link of its own to one router, whose nft table defines who may connect to whom.

No two hosts share a link, so none can spoof or sniff another. The workstation's own firewall and forwarding are not used. Everything is in namespaces
whose names contain the sandbox's id, except for one interface.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox import netns
from sandbox.errors import SandboxError
from sandbox.plan import AddressPlan, SandboxMachine, ruleset
from sandbox.run import run, try_run

NOT_A_DEFAULT = 8  # a VPN takes all traffic by routes wider than this
ALIAS = "lastcopy sandbox in "  # on the workstation's interface, so that an error can name the folder


def _ip(namespace: str | None, *argv: str) -> str:
    return run("ip", *(("-n", namespace) if namespace else ()), *argv)


def has_link(namespace: str | None, link: str) -> bool:
    where = ("-n", namespace) if namespace else ()
    return try_run("ip", *where, "link", "show", "dev", link).returncode == 0


def refuse_range_in_use(plan: AddressPlan) -> None:
    """Raise if the workstation already has a route within the range, other than the default route."""
    routes: list[dict[str, Any]] = json.loads(run("ip", "-j", "-4", "route", "show", "table", "all") or "[]")
    for route in routes:
        link = route.get("dev", "")
        if link == plan.link or route["dst"] == "default":
            continue
        taken = IPv4Network(route["dst"])
        if taken.prefixlen >= NOT_A_DEFAULT and taken.overlaps(plan.network):
            where = f"{taken} on {link}"
            fix = "choose another range, such as 198.18.0.0/24"
            alias = Path(f"/sys/class/net/{link}/ifalias")
            holder = alias.read_text().strip() if link and alias.exists() else ""
            if holder.startswith(ALIAS):
                fix += f", or: lastcopy sandbox destroy --dir {holder.removeprefix(ALIAS)}"
            raise SandboxError(f"{plan.network} is in use here", where=where, fix=fix)


def ensure_base(plan: AddressPlan, directory: Path) -> None:
    """Create the router, its link to the workstation and the workstation's route."""
    router = plan.router_ns
    netns.ensure(router)
    _ip(router, "address", "replace", f"{plan.gateway}/32", "dev", "lo")
    if not has_link(None, plan.link):
        _drop_link(router, "host")
        _ip(None, "link", "add", plan.link, "type", "veth", "peer", "name", "host", "netns", router)
    _ip(None, "link", "set", plan.link, "alias", f"{ALIAS}{directory}"[:255])
    _ip(router, "link", "set", "host", "up")
    _ip(router, "route", "replace", f"{plan.workstation}/32", "dev", "host", "src", str(plan.gateway))
    _ip(None, "address", "replace", f"{plan.workstation}/32", "dev", plan.link)
    _ip(None, "link", "set", plan.link, "up")
    _ip(None, "route", "replace", f"{plan.gateway}/32", "dev", plan.link, "src", str(plan.workstation))
    via = ("via", str(plan.gateway), "dev", plan.link, "src", str(plan.workstation))
    _ip(None, "route", "replace", str(plan.network), *via)


def ensure_leg(plan: AddressPlan, namespace: str, leg: str, address: str) -> None:
    """Create a link from the router to eth0 of a namespace, with its address, and the router as its only route."""
    router = plan.router_ns
    netns.ensure(namespace)
    if not (has_link(namespace, "eth0") and has_link(router, leg)):
        _drop_link(namespace, "eth0")
        _drop_link(router, leg)
        _ip(router, "link", "add", leg, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip(router, "link", "set", leg, "up")
    _ip(router, "route", "replace", f"{address}/32", "dev", leg, "src", str(plan.gateway))
    _ip(namespace, "address", "replace", f"{address}/32", "dev", "eth0")
    _ip(namespace, "link", "set", "eth0", "up")
    _ip(namespace, "route", "replace", f"{plan.gateway}/32", "dev", "eth0", "src", address)
    _ip(namespace, "route", "replace", "default", "via", str(plan.gateway), "dev", "eth0", "src", address)


def drop_leg(plan: AddressPlan, namespace: str, leg: str) -> None:
    """Remove a host from the network: its processes, its link and its namespace."""
    _drop_link(plan.router_ns, leg)
    netns.remove(namespace)


def _drop_link(namespace: str | None, link: str) -> None:
    """Remove a link at once; the kernel removes the links of a deleted namespace only some time later."""
    if (namespace is None or netns.mounted(namespace)) and has_link(namespace, link):
        done = try_run("ip", *(("-n", namespace) if namespace else ()), "link", "delete", link)
        if done.returncode != 0 and has_link(namespace, link):
            raise SandboxError(f"cannot remove the interface {link}: {done.stderr.strip()}")


def apply_rules(plan: AddressPlan, machines: Sequence[SandboxMachine]) -> None:
    """Replace the router's table in one transaction, then enable forwarding."""
    enter = ("nsenter", f"--net={netns.path(plan.router_ns)}")
    run(*enter, "nft", "-f", "-", stdin=ruleset(plan, machines))
    # Without the rate limit refusals arrive at once.
    run(*enter, "sh", "-c", "cd /proc/sys/net/ipv4 && echo 0 >icmp_ratelimit && echo 1 >ip_forward")


def remove_all(plan: AddressPlan) -> None:
    """Remove every namespace of the sandbox, the processes in them, and the workstation's interface and routes."""
    _drop_link(None, plan.link)
    for name in netns.names(plan.prefix):
        netns.remove(name)
    netns.tidy()
