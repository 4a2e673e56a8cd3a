"""Rules over jump hosts and the hosts behind them. They read what was written, of any shape, as in across.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.settings.keys import blob_of
from components.settings.problems import Finding, Fix, Loc, finding
from components.settings.values import is_loopback

_ANOTHER = "a host of its own whose sshd allows TCP forwarding"


def rules(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Every jump host leads somewhere: neither through the relay, nor through the very host behind it, nor out of the sandbox."""
    admin, intermediate = _map(raw.get("admin")), _map(raw.get("intermediate"))
    relay = _map(intermediate.get("existing"))
    if "sandbox" in intermediate and admin.get("jumpHost") is not None:
        what, allowed = "the sandbox's machines are dialled directly", "with hosts of your own only"
        yield finding(("admin", "jumpHost"), what, allowed, Fix(remove=True))
    hosts: list[tuple[Loc, Mapping[str, Any]]] = [(("intermediate", "existing"), relay)]
    sources = raw.get("sources")
    for index, source in enumerate(sources if isinstance(sources, list | tuple) else ()):
        hosts.append((("sources", index, "host"), _map(_map(source).get("host"))))
    default = _map(admin.get("jumpHost"))
    if default and _same(default, relay):
        yield finding(("admin", "jumpHost"), *_THROUGH_THE_RELAY)
    for loc, host in hosts:
        yield from _rules_of(loc, host, relay, default)


_THROUGH_THE_RELAY = (
    "is the relay itself, whose sshd forwards nothing",
    _ANOTHER,
    Fix(remove=True),
)


def _rules_of(
    loc: Loc, host: Mapping[str, Any], relay: Mapping[str, Any], default: Mapping[str, Any]
) -> Iterator[Finding]:
    own = _map(host.get("jumpHost"))
    place = (*loc, "jumpHost")
    if own and is_loopback(host.get("address")):
        what = "leads to a loopback address, which would be the jump host's own"
        allowed = (
            "none for a tunnel's end on this workstation; else the host's address as the jump host dials it"
        )
        yield finding(place, what, allowed, Fix(remove=True))
    elif own and _same(own, relay):
        yield finding(place, *_THROUGH_THE_RELAY)
    elif own and _same(own, host):
        yield finding(place, "is the very host that it should lead to", _ANOTHER, Fix(remove=True))
    elif not own and host.get("jumpHost") is None and default and host is not relay and _same(default, host):
        what = "is missing: lastcopy:admin.jumpHost is this very host, which is dialled directly"
        yield finding(place, what, "none, or another jump host", Fix(value="none"))


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are one machine: by host key, or by what is dialled."""
    key = blob_of(one.get("hostKey"))
    if key is not None and key == blob_of(other.get("hostKey")):
        return True
    address = one.get("address")
    return isinstance(address, str) and _dialled(one) == _dialled(other)


def _dialled(host: Mapping[str, Any]) -> tuple[str, object]:
    return str(host.get("address")).lower(), host.get("port", 22)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
