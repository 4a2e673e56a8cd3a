"""Rules for single values. A value that passes contains no control character and cannot start an option."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StrictInt, StrictStr

from components.settings.form import Form, Looks
from components.settings.patterns import LONGEST, find_malformed_part
from components.settings.problems import Fix, quote_harmless, refuse

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

PORT = "a port, 1 to 65535"
ADDRESS = "a host name or an IP address, without user, port, brackets or spaces"
PATHS = "an absolute path without `..`, doubled or trailing slashes, and control characters"
PATTERN = (
    "* (within a name), ** (across folders), ?, and [a-z] with its closing bracket; a backslash before *, ?, [ or \\ "
    "takes the character as it is"
)
PREFIX = "words of A-Z a-z 0-9 . _ - joined by single slashes, without `.` and `..`, without a leading slash"

# Names that other machines and resources of the chain already have.
RESERVED = frozenset({"relay", "storage", "network", "vault", "sandbox"})


NAME = Form(r"[a-z][a-z0-9-]{0,22}", "1 to 23 of a-z 0-9 -, beginning with a letter")
"""A name of which the program makes an account on the relay."""

SSH_PORT = 22
LOOKS_LIKE_IPV4_NETWORK = Looks(r"^[0-9.]+/[0-9]{1,2}$")
SANDBOX_NETWORK = "198.51.100.0/24"


def _not_reserved(value: str) -> str:
    if value in RESERVED:
        raise refuse(
            f'"{value}" is the name of another part of the chain',
            allowed=f"not {', '.join(sorted(RESERVED))}",
        )
    return value


def _account(value: str) -> str:
    if value.startswith("bk-"):
        raise refuse(
            "accounts that begin with bk- belong to the sources", allowed="an account of the operator's"
        )
    return value


def _address(value: str) -> str:
    """A host name or an IP address that is safe in any file and any command line."""
    literal = _ip(value)
    if literal is not None:
        if literal.is_unspecified or literal.is_multicast or literal.is_link_local:
            raise refuse(f"{quote_harmless(value)} is not the address of one host", allowed=ADDRESS)
        return value
    label = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
    if (
        len(value) > 253
        or not re.fullmatch(rf"{label}(\.{label})*", value, re.ASCII)
        or value.split(".")[-1].isdigit()
    ):
        hint = "; write an international name in its xn-- form" if not value.isascii() else ""
        raise refuse(f"{quote_harmless(value)} is not a host name or an IP address", allowed=ADDRESS + hint)
    return value


def _ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value) if "%" not in value else None
    except ValueError:
        return None


def is_loopback(address: str) -> bool:
    """Whether this is a loopback address or name."""
    found = _ip(address)
    return found.is_loopback if found is not None else address.lower() == "localhost"


@dataclass(frozen=True)
class HostPort:
    """An address and a port. As text, an IPv6 address is in brackets."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def parse_host_port(value: str, *, default: int | None = None) -> HostPort:
    """Read ``host:port`` or ``[v6]:port``. The port may be omitted if there is a default."""
    optional = "" if default is None else ", or an address alone"
    allowed = f"host:port, or [IPv6]:port{optional}; {PORT}"
    if default is not None and _ip(value) is not None:
        return HostPort(_address(value), default)
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", value, re.ASCII)
    port = int(found[3]) if found and found[3] else default
    if found is None or port is None or not 1 <= port <= 65535 or (found[1] and ":" not in found[1]):
        raise refuse(f"{quote_harmless(value)} is not an address with a port", allowed=allowed)
    return HostPort(_address(found[1] or found[2]), port)


def _reached_at(value: str) -> str:
    parse_host_port(value, default=SSH_PORT)
    return value


def _egress(value: str) -> str:
    return str(parse_host_port(value))


def _server(value: str) -> str:
    found = parse_host_port(value)
    if _ip(found.address) is None:
        allowed = "IP:port, or [IPv6]:port: the relay's firewall knows addresses, no names"
        raise refuse(f"{quote_harmless(value)} is a name", allowed=allowed)
    return str(found)


def parse_network(value: str) -> IPNetwork | None:
    """The network, or None if the text is not one."""
    try:
        return ipaddress.ip_network(value) if "%" not in value else None
    except ValueError:
        return None


def _cidr(value: str) -> str:
    allowed = "an IP address or a network in CIDR form, such as 203.0.113.0/24, without host bits"
    found = parse_network(value)
    if found is None:
        raise refuse(f"{quote_harmless(value)} is not a network", allowed=allowed)
    if found.prefixlen == 0:
        raise refuse(
            f'"{value}" is every address there is', allowed=allowed, fix=Fix(say="leave it out:", remove=True)
        )
    return str(found)


_SANDBOX_RANGES = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        SANDBOX_NETWORK,
        "203.0.113.0/24",
        "192.0.2.0/24",
        "198.18.0.0/15",  # RFC 2544: reserved for tests
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
    )
)


def _sandbox_network(value: str) -> str:
    allowed = f"a private, test or documentation IPv4 network from /16 to /27, such as {SANDBOX_NETWORK}"
    found = parse_network(value)
    if not isinstance(found, ipaddress.IPv4Network) or not 16 <= found.prefixlen <= 27:
        raise refuse(f"{quote_harmless(value)} is not an IPv4 network of the right size", allowed=allowed)
    if not any(found.subnet_of(allowed_range) for allowed_range in _SANDBOX_RANGES):
        raise refuse(f"{quote_harmless(value)} may belong to someone else's hosts", allowed=allowed)
    return str(found)


def _printable(value: str, allowed: str) -> None:
    if not value.isprintable():
        raise refuse("holds a line break, a control character or an invisible character", allowed=allowed)


def _backup_path(value: str) -> str:
    _printable(value, PATHS)
    if not value.startswith("/") or (
        value != "/" and any(part in ("", ".", "..") for part in value[1:].split("/"))
    ):
        raise refuse(f"{quote_harmless(value)} is not a plain absolute path", allowed=PATHS)
    if value != value.strip():
        raise refuse(f"{quote_harmless(value)} ends in a space", allowed=PATHS)
    if value.split("/")[1] in ("proc", "sys", "dev", "run"):
        raise refuse(f"{quote_harmless(value)} holds the running kernel's state, not files", allowed=PATHS)
    return value


def _exclude(value: str) -> str:
    allowed = "a pattern of one line, not beginning with # or !, without a space at either end"
    _printable(value, allowed)
    if not value or value != value.strip() or value[0] in "#!":
        raise refuse(f"{quote_harmless(value)} is not a pattern", allowed=allowed)
    if len(value) > LONGEST:
        raise refuse("is too long", allowed=f"at most {LONGEST} characters")
    part = find_malformed_part(value)
    if part is not None:
        where = "" if part == value else f", in its part {quote_harmless(part)}"
        raise refuse(
            f"{quote_harmless(value)} is malformed{where}: restic refuses it and makes no backup",
            allowed=PATTERN,
        )
    return value


def _key_file(value: str) -> str:
    allowed = "a path on this workstation that begins with / or ~/, without spaces, quotes and `..`"
    if "PRIVATE KEY" in value:
        fix = Fix(say="remove it; if this file was ever shared or committed, make a new key:", remove=True)
        raise refuse("is a private key itself, in plain", allowed=allowed, fix=fix)
    if not re.fullmatch(r"~?(/[A-Za-z0-9._@+-]+)+", value, re.ASCII) or ".." in value.split("/"):
        raise refuse("is not a plain path of a file", allowed=allowed)
    if value.endswith(".pub"):
        raise refuse(
            "names the public half of the key", allowed="the file without .pub", fix=Fix(value=value[:-4])
        )
    return value


def _prefix(value: str) -> str:
    """A path inside the storage, without a trailing slash."""
    parts = value.removesuffix("/").split("/") if value else []
    if not all(
        re.fullmatch(r"[A-Za-z0-9._-]+", part, re.ASCII) and part not in (".", "..") for part in parts
    ):
        raise refuse(f"{quote_harmless(value)} is not a plain path inside the storage", allowed=PREFIX)
    return "/".join(parts)


def _remote_path(value: str) -> str:
    if not value.strip("/"):
        raise refuse("is empty", allowed=PREFIX)
    return _prefix(value)


_BUCKET = Form(
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    "3 to 63 of a-z 0-9 . -, beginning and ending with a letter or digit, not like an IP address",
)


def _bucket(value: str) -> str:
    reserved = value.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or value.endswith(
        ("-s3alias", "--ol-s3", "--x-s3")
    )
    if reserved or re.search(r"\.\.|\.-|-\.", value) or re.fullmatch(r"[0-9.]+", value):
        raise refuse(f"{quote_harmless(value)} is not a bucket name that S3 allows", allowed=_BUCKET.allowed)
    return value


def _endpoint(value: str) -> str:
    allowed = "https://host or https://host:port, without user, path and query"
    if value.lower().startswith("http://"):
        raise refuse(
            "is not encrypted: the storage's keys and the data's names would be readable on the way",
            allowed=allowed,
        )
    # Nothing of this value is repeated: it may contain a user and a password.
    if not re.fullmatch(r"https://[A-Za-z0-9.:\[\]-]+/?", value, re.ASCII):
        raise refuse("is not a plain https address", allowed=allowed)
    place = urlsplit(value).netloc
    parse_host_port(place, default=443)
    return f"https://{place}"


def is_carried_by_rclone(value: str) -> bool:
    """Whether rclone.conf returns the value unchanged: quotes, backslashes and %( have a meaning there."""
    return not value.startswith(('"', "'", "`")) and not value.endswith("\\") and "%(" not in value


def _secret_access_key(value: SecretStr) -> SecretStr:
    allowed = (
        "8 to 256 visible ASCII characters, not beginning with a quote, ending with a backslash or with %("
    )
    text = value.get_secret_value()
    if not re.fullmatch(r"[!-~]{8,256}", text, re.ASCII) or not is_carried_by_rclone(text):
        raise refuse("is not a secret access key that rclone.conf can carry", allowed=allowed)
    return value


def _password(value: SecretStr) -> SecretStr:
    allowed = "20 to 512 characters in one line, at least 8 different ones, no space at either end"
    text = value.get_secret_value()
    if not 20 <= len(text) <= 512:
        raise refuse(f"is too {'short' if len(text) < 20 else 'long'}", allowed=allowed)
    if not text.isprintable() or text != text.strip() or len(set(text)) < 8:
        raise refuse("could be guessed or could not be kept in a file", allowed=allowed)
    return value


EnvironmentName = Annotated[
    StrictStr, Form(r"[a-z][a-z0-9-]{0,30}", "1 to 31 of a-z 0-9 -, beginning with a letter")
]
SourceName = Annotated[StrictStr, NAME, AfterValidator(_not_reserved)]
Account = Annotated[
    StrictStr,
    Form(
        r"[a-z_][a-z0-9_.-]{0,31}(@[a-z0-9][a-z0-9.-]{0,62})?",
        "a Unix account: 1 to 32 of a-z 0-9 _ . -, beginning with a letter or _; of a directory also with @domain",
    ),
    AfterValidator(_account),
]
Address = Annotated[StrictStr, AfterValidator(_address), Looks(r"^[A-Za-z0-9.:-]+$")]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
ReachedAt = Annotated[StrictStr, AfterValidator(_reached_at)]
Egress = Annotated[StrictStr, AfterValidator(_egress), Looks(r":[0-9]{1,5}$")]
Server = Annotated[StrictStr, AfterValidator(_server), Looks(r":[0-9]{1,5}$")]
Cidr = Annotated[StrictStr, AfterValidator(_cidr), Looks(r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")]
SandboxRange = Annotated[StrictStr, AfterValidator(_sandbox_network), LOOKS_LIKE_IPV4_NETWORK]
BackupPath = Annotated[StrictStr, AfterValidator(_backup_path), Looks(r"^/")]
Exclude = Annotated[StrictStr, AfterValidator(_exclude), Looks(r"^[^#!]")]
Program = Annotated[
    StrictStr,
    Form(
        r"/[A-Za-z0-9._+/-]+",
        "the absolute path of one executable on the source, of A-Z a-z 0-9 . _ + - and /, without arguments",
    ),
    AfterValidator(_backup_path),
]
KeyFile = Annotated[StrictStr, AfterValidator(_key_file), Looks(r"^~?/")]
Prefix = Annotated[StrictStr, AfterValidator(_prefix), Looks(r"^([^/]|$)")]
RemotePath = Annotated[StrictStr, AfterValidator(_remote_path), Looks(r"^[^/]")]
Bucket = Annotated[StrictStr, _BUCKET, AfterValidator(_bucket)]
Endpoint = Annotated[StrictStr, AfterValidator(_endpoint), Looks(r"^https://")]
AccessKeyId = Annotated[
    StrictStr,
    Form(
        r"[A-Za-z0-9][A-Za-z0-9_.@+=-]{2,127}",
        "3 to 128 of A-Z a-z 0-9 _ . @ + = -, beginning with a letter or digit",
        what="is not an access key id",
    ),
]
SecretAccessKey = Annotated[SecretStr, AfterValidator(_secret_access_key)]
Password = Annotated[SecretStr, AfterValidator(_password)]
LockMode = Literal["COMPLIANCE", "GOVERNANCE"]
MOST_LOCK_DAYS = 36500  # a hundred years, the longest that S3 accepts
LockDays = Annotated[StrictInt, Field(ge=1, le=MOST_LOCK_DAYS)]
Generation = Annotated[StrictInt, Field(ge=1, le=999999)]
