"""Settings of the relay that the program makes in AWS: the machine, its network, its doors."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from components.settings.aws import Email
from components.settings.keys import PUBLIC_KEY_EXAMPLE, PublicKey
from components.settings.model import Model
from components.settings.problems import Finding, Fix, finding, refuse, shown
from components.settings.values import match, network

NETWORK = "10.77.0.0/24"
HOW_TO_GET_THE_PUBLIC_KEY = (
    "`ssh-keygen -t ed25519 -f ~/.ssh/backup-admin`, then the one line of the .pub file:"
)


def _instance_type(value: str) -> str:
    allowed = "FAMILY.SIZE, such as t4g.small (arm64) or t3.small (amd64)"
    match(value, r"[a-z][a-z0-9-]{1,15}\.[a-z0-9-]{2,16}", allowed)
    if value.startswith("mac"):
        raise refuse(f"{shown(value)} cannot run Debian", allowed=allowed)
    return value


def _ami(value: str) -> str:
    return match(value, r"ami-[0-9a-f]{8}([0-9a-f]{9})?", "ami- and 8 or 17 of 0-9 a-f")


def _subnet(value: str) -> str:
    return match(value, r"subnet-[0-9a-f]{8}([0-9a-f]{9})?", "subnet- and 8 or 17 of 0-9 a-f")


def _vpc_range(value: str) -> str:
    allowed = f"a private IPv4 network from /16 to /28, such as {NETWORK}, without host bits"
    found = network(value)
    if (
        not isinstance(found, ipaddress.IPv4Network)
        or not 16 <= found.prefixlen <= 28
        or not found.is_private
    ):
        raise refuse(f"{shown(value)} is not a private IPv4 network of the right size", allowed=allowed)
    return str(found)


def _reason(value: str) -> str:
    allowed = "the reason in one line of 10 to 200 characters"
    if not value.isprintable() or value != value.strip() or not 10 <= len(value) <= 200:
        raise refuse("is not a reason", allowed=allowed)
    return value


def _door_range(value: str) -> str:
    allowed = "an IPv4 address or a network in CIDR form, such as 203.0.113.0/24, without host bits"
    found = network(value)
    if found is not None and found.version == 4:
        return str(found)
    if found is not None:
        raise refuse(f"{shown(value)} is IPv6, and the relay has an IPv4 address only", allowed=allowed)
    try:
        whole = str(ipaddress.IPv4Network(value, strict=False))
    except ValueError:
        raise refuse(f"{shown(value)} is not a network", allowed=allowed) from None
    raise refuse(f"{shown(value)} has host bits", allowed=allowed, fix=Fix(value=whole))


def is_wide(value: object) -> bool:
    """Whether the network is the whole Internet, or so large a part of it that it must be said why."""
    found = network(value)
    return found is not None and found.prefixlen < 8


DoorRange = Annotated[StrictStr, AfterValidator(_door_range)]


class Ec2Vm(Model):
    """A relay that the program makes in AWS: Debian, encrypted disk, fixed address, SSH from given networks only."""

    EXAMPLE: ClassVar[object] = {
        "adminPublicKey": PUBLIC_KEY_EXAMPLE,
        "adminsFrom": ["203.0.113.0/24"],
        "sourcesFrom": ["198.51.100.0/24"],
    }

    generation: Annotated[StrictInt, Field(ge=1, le=999999)] = Field(
        1,
        description="A new number replaces the machine; the sources learn its new host key in the same run.",
    )
    instance_type: Annotated[StrictStr, AfterValidator(_instance_type)] = Field(
        "t4g.small", description="EC2 instance type; its family decides the architecture, arm64 or amd64."
    )
    ami: Annotated[StrictStr, AfterValidator(_ami)] | None = Field(
        None,
        description="Image; default: the newest Debian 13 when the machine is made, kept from then on.",
        examples=["ami-0123456789abcdef0"],
    )
    disk_gib: Annotated[StrictInt, Field(ge=8, le=16384)] = Field(
        16, alias="diskGiB", description="Size of the encrypted root disk in GiB, 8 to 16384."
    )
    admin_public_key: PublicKey = Field(
        description="Public half of lastcopy:admin's key: one line, ssh-ed25519 AAAA…; for account admin. A new one needs a new"
        " generation.",
        examples=[PUBLIC_KEY_EXAMPLE],
        json_schema_extra={"how": HOW_TO_GET_THE_PUBLIC_KEY},
    )
    network: Annotated[StrictStr, AfterValidator(_vpc_range)] | None = Field(
        NETWORK, description="IPv4 network of a VPC of its own, /16 to /28, private; not with subnet."
    )
    subnet: Annotated[StrictStr, AfterValidator(_subnet)] | None = Field(
        None,
        description="An existing public subnet, in place of a network of its own.",
        examples=["subnet-0123456789abcdef0"],
    )
    admins_from: tuple[DoorRange, ...] = Field(
        (),
        description="IPv4 networks that the operators' SSH comes from; may be empty with door ssm only.",
        examples=[["203.0.113.0/24"]],
    )
    sources_from: Annotated[tuple[DoorRange, ...], Field(min_length=1)] = Field(
        description="IPv4 networks that the sources' SSH comes from, at least one.",
        examples=[["198.51.100.0/24"]],
    )
    open_to_all_because: Annotated[StrictStr, AfterValidator(_reason)] | None = Field(
        None,
        description="Why 0.0.0.0/0 or a network larger than a /8 may connect; needed where one stands above.",
        examples=["sources roam, their addresses are not known"],
    )
    door: Literal["ssh", "ssm"] = Field(
        "ssh",
        description="How operators come in: ssh (port 22 from adminsFrom), or ssm (a port forwarding session to"
        " 127.0.0.1:2222; port 22 is for sources only).",
    )
    alarm_email: Email | None = Field(
        None,
        description="Address that is told when the machine fails; it recovers by itself in any case.",
        examples=["ops@example.com"],
    )

    @classmethod
    def prepare(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """In an existing subnet there is no network of its own."""
        return {**raw, "network": None} if "subnet" in raw and "network" not in raw else raw

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        if raw.get("network") is not None and raw.get("subnet") is not None:
            fix = Fix(say="keep one, for example:", remove=True, at=("subnet",))
            allowed = "exactly one of: network, subnet"
            yield finding((), "has network and subnet, which exclude each other", allowed, fix)
        admins, door = raw.get("adminsFrom"), raw.get("door", "ssh")
        if door == "ssh" and admins in (None, [], ()):
            what, allowed = "is empty, so no operator could come in", "at least one network, or door ssm"
            yield finding(("adminsFrom",), what, allowed)
        if door == "ssm" and admins not in (None, [], ()):
            what = "is not used with door ssm: port 22 is for the sources only"
            yield finding(("adminsFrom",), what, "with door ssh only", Fix(remove=True))
        yield from _openness(raw)

    def architecture(self) -> Literal["arm64", "amd64"]:
        """As Debian names it; AWS marks its own ARM processors by a g behind the generation's number."""
        family = self.instance_type.split(".")[0]
        return "arm64" if re.match(r"a1$|[a-z]+[0-9]+g", family) else "amd64"


def _openness(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """A door for everybody is opened by two keys that agree, never by one."""
    wide = [
        f"{network} in {key}"
        for key in ("adminsFrom", "sourcesFrom")
        for network in (raw[key] if isinstance(raw.get(key), list | tuple) else [])
        if is_wide(network)
    ]
    reason = raw.get("openToAllBecause")
    if wide and reason is None:
        what = f"is missing, but {' and '.join(wide)} lets everybody connect"
        allowed = "smaller networks, or the reason in one line of 10 to 200 characters"
        yield finding(("openToAllBecause",), what, allowed)
    if not wide and reason is not None:
        what = "is a reason for nothing: no network is open to all"
        yield finding(("openToAllBecause",), what, "only where one is", Fix(remove=True))
