"""Rules over several keys. They read what was written, of any shape: no other mistake silences them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from components.settings.hosts import WAY_IN, WAYS_IN, ManagedHost
from components.settings.keys import HOW_TO_PIN, blob_of
from components.settings.people import FACTORS, entries, keys_of
from components.settings.problems import Finding, Fix, Loc, finding, path_text
from components.settings.storage import Identity, S3Bucket
from components.settings.values import is_address, is_loopback, network

IDENTITIES = "an identity of its own for every source"
SANDBOX = "the whole chain in the sandbox (intermediate, storage and sources), or none of it"


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one: its own rule says what is wrong with it."""
    return value if isinstance(value, Mapping) else {}


def sources_of(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = raw.get("sources")
    return [mapping(source) for source in given] if isinstance(given, list | tuple) else []


def with_user(source: object, user: object) -> object:
    """The source, its host reached as this user unless it names one."""
    host = mapping(source).get("host")
    if not isinstance(source, Mapping) or not isinstance(host, Mapping):
        return source
    return {**source, "host": {"user": user, **host}}


def union(value: object) -> Mapping[str, Any]:
    """A map of which one key is chosen; empty where several are, which its own rule refuses."""
    return value if isinstance(value, Mapping) and len(value) == 1 else {}


def rules(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Every contradiction between the parts of a stack."""
    yield from _sandbox_is_whole(raw)
    yield from _way_in(raw)
    yield from _nothing_twice(raw)
    yield from _identities(raw)
    yield from _relay_stands_alone(raw)


def _sandbox_is_whole(raw: Mapping[str, Any]) -> Iterator[Finding]:
    relay, storage, sources = union(raw.get("intermediate")), union(raw.get("storage")), sources_of(raw)
    local, outside = "sandbox" in relay, bool(relay.keys() & {"existing", "ec2"})
    if local and storage and "sandbox" not in storage:
        fix = Fix(remove=True, at=tuple(storage), add={"sandbox": {}})
        yield finding(("storage",), "is outside, but the relay is in the sandbox", SANDBOX, fix)
    if outside and "sandbox" in storage:
        fix = Fix(remove=True, at=("sandbox",), add={"s3": S3Bucket.EXAMPLE})
        yield finding(("storage",), "is in the sandbox, but the relay is not", SANDBOX, fix)
    for index, source in enumerate(sources):
        if outside and "sandbox" in source:
            fix = Fix(remove=True, at=("sandbox",), add={"host": ManagedHost.EXAMPLE})
            yield finding(("sources", index), "is in the sandbox, but the relay is not", SANDBOX, fix)
        if local and "host" in source:
            fix = Fix(remove=True, at=("host",), add={"sandbox": {}})
            yield finding(("sources", index), "is outside, but the relay is in the sandbox", SANDBOX, fix)
    if raw.get("sandbox") and outside:
        yield finding(("sandbox",), "nothing here is in the sandbox", SANDBOX, Fix(remove=True))
    if local:
        yield from _network_is_large_enough(mapping(raw.get("sandbox")), len(sources))


def _network_is_large_enough(sandbox: Mapping[str, Any], sources: int) -> Iterator[Finding]:
    found = network(sandbox.get("network", "198.51.100.0/24"))
    # Besides the sources: network and broadcast address, this workstation, relay, storage. Below 16 its own rule speaks.
    if found is not None and 16 <= found.num_addresses < sources + 5:
        what = f"has {found.num_addresses} addresses, too few for {sources} sources, relay and storage"
        fix = Fix(value="198.51.100.0/24")
        yield finding(("sandbox", "network"), what, f"at least {sources + 5} addresses", fix)


def _way_in(raw: Mapping[str, Any]) -> Iterator[Finding]:
    relay, admin = union(raw.get("intermediate")), mapping(raw.get("admin"))
    given = [key for key in ("user", *WAYS_IN) if admin.get(key) not in (None, False)]
    if "sandbox" in relay:
        for key in given:
            what, allowed = "the sandbox makes its own user and key", "people only"
            yield finding(("admin", key), what, allowed, Fix(remove=True))
    elif relay.keys() & {"existing", "ec2"} and not set(given) & set(WAYS_IN):
        fix = Fix(add={"privateKeyFile": "~/.ssh/backup-admin"})
        yield finding(("admin",), f"has none of {', '.join(WAYS_IN)}", WAY_IN, fix)
    if admin.get("secondFactor") in FACTORS[1:]:
        yield from _tunnel(relay, str(admin["secondFactor"]))


def _tunnel(relay: Mapping[str, Any], factor: str) -> Iterator[Finding]:
    """With a second factor the engine, which has none, comes in only behind a person who showed it (ADR 0004)."""
    if "sandbox" in relay:
        what, allowed = "the sandbox's relay is dialled directly, without a person", "none, with the sandbox"
        yield finding(("admin", "secondFactor"), what, allowed, Fix(remove=True))
    if mapping(relay.get("ec2")).get("door", "ssh") == "ssh" and "ec2" in relay:
        what = f"is ssh, so the relay is dialled directly, but secondFactor {factor} lets the engine in only from loopback"
        allowed = "door ssm with a second factor: its session ends on the relay's loopback"
        fix = Fix(value="ssm", say="see docs/decisions/0004; adminsFrom is empty then:")
        yield finding(("intermediate", "ec2", "door"), what, allowed, fix)
    host = mapping(relay.get("existing"))
    address, port = host.get("address"), host.get("sshPort", host.get("port", 22))
    if not is_address(address) or is_loopback(address) or type(port) is not int:
        return
    what = f"is dialled directly, but secondFactor {factor} lets the engine in only through a person's tunnel"
    say = (
        "run `pulumi up` once with secondFactor none, so that the people in the list can open tunnels; then\n"
        f"`ssh -N -L 2222:127.0.0.1:{port} PERSON@{address}` beside every run, and:"
    )
    end = {"address": "127.0.0.1", "port": 2222, "sshPort": port}
    seen = {} if "sourcesReachItAt" in host else {"sourcesReachItAt": address}
    fix = Fix(say=say, add={**end, **seen})
    yield finding(("intermediate", "existing"), what, "address 127.0.0.1, ::1 or localhost", fix)


def _text(*path: str) -> Callable[[Mapping[str, Any]], str | None]:
    """A reader of the text at this place, None where there is none."""

    def read(value: Mapping[str, Any]) -> str | None:
        for part in path[:-1]:
            value = mapping(value.get(part))
        found = value.get(path[-1])
        return found if isinstance(found, str) else None

    return read


def _key(*path: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda value: blob_of(_text(*path)(value))


def _dialled(host: Mapping[str, Any]) -> str | None:
    address = host.get("address")
    return f"{address.lower()} port {host.get('port', 22)}" if isinstance(address, str) else None


_NEW_HOST_KEY = Fix(
    say=f"on the clone, as root: `rm /etc/ssh/ssh_host_*; ssh-keygen -A`, restart its sshd; then\n{HOW_TO_PIN}"
)
_NEW_IDENTITY = Fix(say="make another identity in the storage, for this source alone, then:")
_OTHER_MACHINE = "a source on a machine of its own"
_PASSWORDS = "a password of its own for every source; without one, one is made"
_HOST_KEYS = "a host key of its own for every host"
_UNIQUE: tuple[tuple[Loc, Callable[[Mapping[str, Any]], str | None], str, Fix], ...] = (
    (("name",), _text("name"), "a name of its own for every source", Fix(value="another-name")),
    (("password",), _text("password"), _PASSWORDS, Fix()),
    (("publicKey",), _key("publicKey"), "a key pair of its own for every source", Fix()),
    (("host", "hostKey"), _key("host", "hostKey"), _HOST_KEYS, _NEW_HOST_KEY),
    (("host",), lambda source: _dialled(mapping(source.get("host"))), _OTHER_MACHINE, Fix(remove=True)),
    (("identity", "accessKeyId"), _text("identity", "accessKeyId"), IDENTITIES, _NEW_IDENTITY),
    (("identity", "secretAccessKey"), _text("identity", "secretAccessKey"), IDENTITIES, _NEW_IDENTITY),
)


def _nothing_twice(raw: Mapping[str, Any]) -> Iterator[Finding]:
    sources = sources_of(raw)
    for loc, read, allowed, fix in _UNIQUE:
        first: dict[str, int] = {}
        for index, source in enumerate(sources):
            value = read(source)
            if value is not None and first.setdefault(value, index) != index:
                what = f"is the same as in {path_text(('sources', first[value]))}"
                yield finding(("sources", index, *loc), what, allowed, fix)
    people = {blob_of(key) for person in entries(mapping(raw.get("admin"))) for key in keys_of(person)}
    for index, source in enumerate(sources):
        key = blob_of(source.get("publicKey"))
        if key is not None and key in people:
            what = "is a person's key too: whoever takes this source could open tunnels to the relay"
            yield finding(("sources", index, "publicKey"), what, "a key that only this source has")


_NO_IDENTITY_IN = {
    "rclone": "is not used with rclone storage: the rclone section holds the storage's keys",
    "sandbox": "is not used with sandbox storage: the sandbox makes its own",
}


def _identities(raw: Mapping[str, Any]) -> Iterator[Finding]:
    storage = union(raw.get("storage"))
    shared = mapping(storage.get("s3")).get("identity")
    for index, source in enumerate(sources_of(raw)):
        own = source.get("identity")
        if source and "s3" in storage and own is None and shared is None:
            allowed = f"{IDENTITIES}, or storage.s3.identity shared by those without"
            fix = Fix(add={"identity": Identity.EXAMPLE})
            yield finding(("sources", index), "has no storage identity", allowed, fix)
        for kind, what in _NO_IDENTITY_IN.items():
            if own is not None and kind in storage:
                yield finding(
                    ("sources", index, "identity"),
                    what,
                    "with storage.s3 or storage.aws only",
                    Fix(remove=True),
                )
        for part in ("accessKeyId", "secretAccessKey"):
            value = mapping(own).get(part)
            if value is not None and value == mapping(shared).get(part):
                what = "is the same as in lastcopy:storage.s3.identity"
                yield finding(("sources", index, "identity", part), what, IDENTITIES, _NEW_IDENTITY)


def _relay_stands_alone(raw: Mapping[str, Any]) -> Iterator[Finding]:
    relay = mapping(union(raw.get("intermediate")).get("existing"))
    key = blob_of(relay.get("hostKey"))
    for index, source in enumerate(sources_of(raw)):
        host = mapping(source.get("host"))
        if _dialled(host) is not None and _dialled(host) == _dialled(relay):
            what = "is the relay itself: whoever takes this source would own the relay"
            yield finding(("sources", index, "host"), what, _OTHER_MACHINE, Fix(remove=True))
        elif key is not None and blob_of(host.get("hostKey")) == key:
            what = "is the relay's host key too: one machine, or a cloned one that can pose as the other"
            yield finding(("sources", index, "host", "hostKey"), what, _HOST_KEYS, _NEW_HOST_KEY)
