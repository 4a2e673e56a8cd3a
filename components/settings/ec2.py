"""Settings of the relay that the program makes on AWS: the machine, its network, and who may connect."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from components.settings.aws import Email
from components.settings.form import Form, Looks
from components.settings.model import Model, read_if_known
from components.settings.problems import Finding, Fix, quote_harmless, refuse
from components.settings.reference import Hint
from components.settings.ssh_keys import PUBLIC_KEY_EXAMPLE, PublicKey
from components.settings.values import LOOKS_LIKE_IPV4_NETWORK, Generation, parse_network

NETWORK = "10.77.0.0/24"
INSTANCE_TYPE = "t4g.small"
HOW_TO_GET_THE_PUBLIC_KEY = (
    "`ssh-keygen -t ed25519 -f ~/.ssh/backup-admin`, then the one line of the .pub file:"
)


_INSTANCE_TYPE = Form(
    r"[a-z][a-z0-9-]{1,15}\.[a-z0-9-]{2,16}",
    f"FAMILY.SIZE, such as {INSTANCE_TYPE} (arm64) or t3.small (amd64)",
)


def _instance_type(value: str) -> str:
    if value.startswith("mac"):
        raise refuse(f"{quote_harmless(value)} cannot run Debian", allowed=_INSTANCE_TYPE.allowed)
    return value


def _id_of(kind: str) -> Form:
    return Form(rf"{kind}-[0-9a-f]{{8}}([0-9a-f]{{9}})?", f"{kind}- and 8 or 17 of 0-9 a-f")


def _vpc_range(value: str) -> str:
    allowed = f"a private IPv4 network from /16 to /28, such as {NETWORK}, without host bits"
    found = parse_network(value)
    if (
        not isinstance(found, ipaddress.IPv4Network)
        or not 16 <= found.prefixlen <= 28
        or not found.is_private
    ):
        raise refuse(
            f"{quote_harmless(value)} is not a private IPv4 network of the right size", allowed=allowed
        )
    return str(found)


def _reason(value: str) -> str:
    allowed = "the reason in one line of 10 to 200 characters"
    if not value.isprintable() or value != value.strip() or not 10 <= len(value) <= 200:
        raise refuse("is not a reason", allowed=allowed)
    return value


def _client_range(value: str) -> str:
    allowed = "an IPv4 address or a network in CIDR form, such as 203.0.113.0/24, without host bits"
    found = parse_network(value)
    if found is not None and found.version == 4:
        return str(found)
    if found is not None:
        raise refuse(
            f"{quote_harmless(value)} is IPv6, and the relay has an IPv4 address only", allowed=allowed
        )
    try:
        whole = str(ipaddress.IPv4Network(value, strict=False))
    except ValueError:
        raise refuse(f"{quote_harmless(value)} is not a network", allowed=allowed) from None
    raise refuse(f"{quote_harmless(value)} has host bits", allowed=allowed, fix=Fix(value=whole))


def _is_wide(value: str) -> bool:
    """Whether the network is the whole Internet, or so large a part of it that a reason is required."""
    found = parse_network(value)
    return found is not None and found.prefixlen < 8


ClientRange = Annotated[StrictStr, AfterValidator(_client_range), Looks(r"^[0-9.]+(/[0-9]{1,2})?$")]


class Ec2Vm(Model):
    """A relay that the program makes on AWS: Debian, an encrypted disk, a fixed address, SSH only from the given networks."""

    EXAMPLE: ClassVar[object] = {
        "adminPublicKey": PUBLIC_KEY_EXAMPLE,
        "adminsFrom": ["203.0.113.0/24"],
        "sourcesFrom": ["192.0.2.0/24"],
    }

    generation: Generation = Field(
        1,
        description="A new number replaces the machine; the sources learn its new host key in the same run.",
    )
    instance_type: Annotated[StrictStr, _INSTANCE_TYPE, AfterValidator(_instance_type)] = Field(
        INSTANCE_TYPE, description="EC2 instance type; its family decides the architecture, arm64 or amd64."
    )
    ami: Annotated[StrictStr, _id_of("ami")] | None = Field(
        None,
        description="Image; default: the newest Debian 13 at the time the machine is made, and the same afterwards.",
        examples=["ami-0123456789abcdef0"],
    )
    disk_gib: Annotated[StrictInt, Field(ge=8, le=16384)] = Field(
        16, alias="diskGiB", description="Size of the encrypted root disk in GiB, 8 to 16384."
    )
    admin_public_key: Annotated[PublicKey, Hint(how=HOW_TO_GET_THE_PUBLIC_KEY)] = Field(
        description="Public half of lastcopy:admin's key: one line, ssh-ed25519 AAAA…; for account admin. A new key "
        "needs a new generation.",
        examples=[PUBLIC_KEY_EXAMPLE],
    )
    network: Annotated[StrictStr, AfterValidator(_vpc_range), LOOKS_LIKE_IPV4_NETWORK] | None = Field(
        NETWORK,
        description="Private IPv4 network of the VPC that the program makes, /16 to /28; not with subnet.",
    )
    subnet: Annotated[StrictStr, _id_of("subnet")] | None = Field(
        None,
        description="An existing public subnet, instead of a new network.",
        examples=["subnet-0123456789abcdef0"],
    )
    admins_from: tuple[ClientRange, ...] = Field(
        (),
        description="IPv4 networks that the operators' SSH comes from; may be empty only with door ssm.",
        examples=[["203.0.113.0/24"]],
    )
    sources_from: Annotated[tuple[ClientRange, ...], Field(min_length=1)] = Field(
        description="IPv4 networks that the sources' SSH comes from, at least one.",
        examples=[["192.0.2.0/24"]],
    )
    open_to_all_because: Annotated[StrictStr, AfterValidator(_reason)] | None = Field(
        None,
        description="Reason why 0.0.0.0/0 or a network larger than a /8 may connect; needed if one is listed above.",
        examples=["sources roam, their addresses are not known"],
    )
    door: Literal["ssh", "ssm"] = Field(
        "ssh",
        description="How operators connect: ssh (port 22 from adminsFrom), or ssm (a port forwarding session to"
        " 127.0.0.1:2222; port 22 is for sources only).",
    )
    alarm_email: Email | None = Field(
        None,
        description="E-mail address to notify when the machine fails; it recovers automatically in any case.",
        examples=["ops@example.com"],
    )

    def completed(self) -> Self:
        """An existing subnet excludes a network of the program's own."""
        return self if self.subnet is None else self.model_copy(update={"network": None})

    def rules(self) -> Iterator[Iterator[Finding]]:
        yield self._refuse_network_beside_subnet()
        yield self._require_a_way_for_operators()
        yield self._require_reason_for_wide_networks()

    def _refuse_network_beside_subnet(self) -> Iterator[Finding]:
        if "network" in self.model_fields_set and self.network is not None and self.subnet is not None:
            fix = Fix(say="keep one, for example:", remove=True, at=("subnet",))
            what = "has network and subnet, which exclude each other"
            yield Finding((), what, "exactly one of: network, subnet", fix)

    def _require_a_way_for_operators(self) -> Iterator[Finding]:
        if self.door == "ssh" and not self.admins_from:
            what = "is empty, so no operator could log in"
            yield Finding(("adminsFrom",), what, "at least one network, or door ssm")
        if self.door == "ssm" and self.admins_from:
            what = "is not used with door ssm: port 22 is for the sources only"
            yield Finding(("adminsFrom",), what, "with door ssh only", Fix(remove=True))

    def _require_reason_for_wide_networks(self) -> Iterator[Finding]:
        """A second deliberate key is required before everybody may connect."""
        ranges = {
            "adminsFrom": read_if_known(lambda: self.admins_from),
            "sourcesFrom": read_if_known(lambda: self.sources_from),
        }
        wide = [f"{one} in {key}" for key, given in ranges.items() for one in given or () if _is_wide(one)]
        if wide and self.open_to_all_because is None:
            what = f"is missing, but {' and '.join(wide)} lets everybody connect"
            allowed = "smaller networks, or the reason in one line of 10 to 200 characters"
            yield Finding(("openToAllBecause",), what, allowed)
        if not wide and None not in ranges.values() and self.open_to_all_because is not None:
            what = "gives a reason, but no network is open to all"
            yield Finding(("openToAllBecause",), what, "only where one is", Fix(remove=True))

    def architecture(self) -> Literal["arm64", "amd64"]:
        """The architecture in Debian's words; AWS marks its own ARM processors by a g after the generation number."""
        family = self.instance_type.split(".")[0]
        return "arm64" if re.match(r"a1$|[a-z]+[0-9]+g", family) else "amd64"
