"""The addresses that the relay's processes connect to: names or addresses, and ports. Pure, no engine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\Z")


@dataclass(frozen=True, order=True)
class Endpoint:
    """A host name or an address, and a port."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if self.literal is None and (not _NAME.match(self.host) or len(self.host) > 253):
            raise ValueError(f"not a host name or an address: {self.host!r}")

    @property
    def literal(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def s3_endpoints(url: str, bucket: str) -> tuple[Endpoint, ...]:
    """Where an S3 client connects for this endpoint: the name itself and, if it is a name, the bucket's own name below it."""
    parts = urlsplit(url if "//" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the endpoint is not an http or https URL")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    own = Endpoint(parts.hostname, port)
    return (own,) if own.literal is not None else (own, Endpoint(f"{bucket}.{parts.hostname}", port))


def parse_endpoint(text: str) -> Endpoint:
    """``host:port`` or ``[v6]:port``."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+)):([0-9]{1,5})", text)
    if found is None:
        raise ValueError(f"not host:port or [IPv6]:port: {text!r}")
    return Endpoint(found[1] or found[2], int(found[3]))


def lookup_lines(endpoints: Iterable[Endpoint]) -> str:
    """Lines ``name port`` of the names that must be looked up on the host; empty if every endpoint is an address."""
    return "".join(f"{one.host} {one.port}\n" for one in sorted(set(endpoints)) if one.literal is None)
