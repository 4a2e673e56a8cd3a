"""Rules across the sections of a stack: sources do not share what identifies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.settings.hosts import ExistingHost, ManagedHost, UnmanagedSource
from components.settings.jump_rules import is_same_endpoint
from components.settings.model import read_if_known
from components.settings.problems import Finding, Fix, Loc, format_path
from components.settings.sources import Source
from components.settings.ssh_keys import HOW_TO_PIN, read_key_data
from components.settings.stack import STORAGE, Settings
from components.settings.storage import Identity, RcloneRemoteSection, S3Bucket, SandboxVault

IDENTITIES = "an identity of its own for every source"
_OTHER_MACHINE = "a source on a machine of its own"
_PASSWORDS = "a password of its own for every source; without one, one is made"
_HOST_KEYS = "a host key of its own for every host"
_NEW_HOST_KEY = Fix(
    say=f"on the clone, as root: `rm /etc/ssh/ssh_host_*; ssh-keygen -A`, restart its sshd; then\n{HOW_TO_PIN}"
)
_NEW_IDENTITY = Fix(say="make another identity in the storage, for this source alone, then:")


def _name(source: Source) -> str | None:
    return source.name


def _password(source: Source) -> str | None:
    return None if source.password is None else source.password.get_secret_value()


def _public_key(source: Source) -> str | None:
    return read_key_data(source.host.public_key) if isinstance(source.host, UnmanagedSource) else None


def _host_key(source: Source) -> str | None:
    return read_key_data(source.host.host_key) if isinstance(source.host, ManagedHost) else None


def _endpoint(source: Source) -> str | None:
    host = source.host
    return f"{host.address.lower()} port {host.port}" if isinstance(host, ManagedHost) else None


def _access_key_id(source: Source) -> str | None:
    return None if source.identity is None else source.identity.access_key_id


def _secret_access_key(source: Source) -> str | None:
    return None if source.identity is None else source.identity.secret_access_key.get_secret_value()


@dataclass(frozen=True)
class _Unique:
    """A value that only one source may have. ``read`` returns it, or None if there is nothing to compare."""

    loc: Loc
    read: Callable[[Source], str | None]
    allowed: str
    fix: Fix


_UNIQUE = (
    _Unique(("name",), _name, "a name of its own for every source", Fix(value="another-name")),
    _Unique(("password",), _password, _PASSWORDS, Fix()),
    _Unique(("publicKey",), _public_key, "a key pair of its own for every source", Fix()),
    _Unique(("host", "hostKey"), _host_key, _HOST_KEYS, _NEW_HOST_KEY),
    _Unique(("host",), _endpoint, _OTHER_MACHINE, Fix(remove=True)),
    _Unique(("identity", "accessKeyId"), _access_key_id, IDENTITIES, _NEW_IDENTITY),
    _Unique(("identity", "secretAccessKey"), _secret_access_key, IDENTITIES, _NEW_IDENTITY),
)


def refuse_duplicates(stack: Settings) -> Iterator[Finding]:
    """Each name, password, key, identity and machine belongs to only one source."""
    for unique in _UNIQUE:
        first: dict[str, int] = {}
        for index, source in enumerate(stack.sources):
            value = read_if_known(lambda read=unique.read, source=source: read(source))  # type: ignore[misc]
            if value is not None and first.setdefault(value, index) != index:
                what = f"is the same as in {format_path(('sources', first[value]))}"
                yield Finding(("sources", index, *unique.loc), what, unique.allowed, unique.fix)


def require_identity(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """In a bucket of the operator, each source has an identity, or shares that of the bucket."""
    if isinstance(stack.storage, S3Bucket) and source.identity is None and stack.storage.identity is None:
        allowed = f"{IDENTITIES}, or storage.s3.identity shared by those without"
        fix = Fix(add={"identity": Identity.EXAMPLE})
        yield Finding(loc, "has no storage identity", allowed, fix)


def refuse_unused_identity(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """A source has an identity only if the storage uses it."""
    if source.identity is None or not isinstance(stack.storage, RcloneRemoteSection | SandboxVault):
        return
    why = (
        "the sandbox makes its own"
        if isinstance(stack.storage, SandboxVault)
        else "the rclone section holds the storage's keys"
    )
    what = f"is not used with {STORAGE.key_of(stack.storage)} storage: {why}"
    yield Finding((*loc, "identity"), what, "with storage.s3 or storage.aws only", Fix(remove=True))


def refuse_shared_identity(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """A source's own identity is not the one that the others share."""
    own, shared = source.identity, stack.storage.identity if isinstance(stack.storage, S3Bucket) else None
    if own is None or shared is None:
        return
    same = {
        "accessKeyId": read_if_known(lambda: own.access_key_id == shared.access_key_id),
        "secretAccessKey": read_if_known(lambda: own.secret_access_key == shared.secret_access_key),
    }
    for part in (part for part, is_same in same.items() if is_same):
        what = "is the same as in lastcopy:storage.s3.identity"
        yield Finding((*loc, "identity", part), what, IDENTITIES, _NEW_IDENTITY)


def refuse_relay_as_source(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """The relay, or a clone of it, is not a source."""
    relay, host = stack.intermediate, source.host
    if not isinstance(relay, ExistingHost) or not isinstance(host, ManagedHost):
        return
    if is_same_endpoint(host, relay):
        what = "is the relay itself: whoever controls this source would own the relay"
        yield Finding((*loc, "host"), what, _OTHER_MACHINE, Fix(remove=True))
    elif read_key_data(host.host_key) == read_key_data(relay.host_key):
        what = "is the relay's host key too: one machine, or a cloned one that can pose as the other"
        yield Finding((*loc, "host", "hostKey"), what, _HOST_KEYS, _NEW_HOST_KEY)
