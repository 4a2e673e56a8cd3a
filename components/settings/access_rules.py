"""Rules across the sections of a stack: how the operator and other people reach the relay, and that no key is used twice."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings.admin import DEFAULT_USER, WAY_IN, WAYS_IN
from components.settings.ec2 import Ec2Vm
from components.settings.hosts import ExistingHost, SandboxVm, UnmanagedSource
from components.settings.model import read_if_known, run_until_unknown
from components.settings.people import Person
from components.settings.problems import Finding, Fix, Loc, format_path
from components.settings.sources import Source
from components.settings.ssh_keys import read_key_data
from components.settings.stack import Settings
from components.settings.values import is_loopback


def require_way_in(stack: Settings) -> Iterator[Finding]:
    """The operator must have a key for existing hosts."""
    given = stack.admin.ways_in()
    if not isinstance(stack.intermediate, SandboxVm) and not given:
        fix = Fix(add={"privateKeyFile": "~/.ssh/backup-admin"})
        yield Finding(("admin",), f"has none of {', '.join(WAYS_IN)}", WAY_IN, fix)


def refuse_way_into_sandbox(stack: Settings) -> Iterator[Finding]:
    """No key is given for the sandbox, which makes its own account and key."""
    if isinstance(stack.intermediate, SandboxVm):
        user = ["user"] if "user" in stack.admin.model_fields_set else []
        for key in (*user, *stack.admin.ways_in()):
            what = "the sandbox makes its own user and key"
            yield Finding(("admin", key), what, "people only", Fix(remove=True))


def require_tunnel_for_second_factor(stack: Settings) -> Iterator[Finding]:
    """The engine has no second factor. If one is required, the engine connects only through the tunnel of a person who has one (ADR 0004)."""
    factor, relay = stack.admin.second_factor, stack.intermediate
    if factor == "none":
        return
    if isinstance(relay, SandboxVm):
        what = "the sandbox's relay is dialled directly, without a person"
        yield Finding(("admin", "secondFactor"), what, "none, with the sandbox", Fix(remove=True))
    elif isinstance(relay, Ec2Vm) and relay.door == "ssh":
        what = f"is ssh, so the relay is dialled directly, but secondFactor {factor} lets the engine in only from loopback"
        allowed = "door ssm with a second factor: its session ends on the relay's loopback"
        fix = Fix(value="ssm", say="see docs/decisions/0004; adminsFrom is empty then:")
        yield Finding(("intermediate", "ec2", "door"), what, allowed, fix)
    elif isinstance(relay, ExistingHost) and not is_loopback(relay.address):
        yield _require_tunnel(relay, factor)


def _require_tunnel(relay: ExistingHost, factor: str) -> Finding:
    what = f"is dialled directly, but secondFactor {factor} lets the engine in only through a person's tunnel"
    say = (
        "run `pulumi up` once with secondFactor none, so that the people in the list can open tunnels; then\n"
        f"`ssh -N -L 2222:127.0.0.1:{relay.ssh_port} PERSON@{relay.address}` beside every run, and:"
    )
    end = {"address": "127.0.0.1", "port": 2222, "sshPort": relay.ssh_port}
    seen = {"sourcesReachItAt": relay.address} if relay.sources_reach_it_at is None else {}
    allowed = "address 127.0.0.1, ::1 or localhost"
    return Finding(("intermediate", "existing"), what, allowed, Fix(say=say, add={**end, **seen}))


def refuse_keys_of_people(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """A source must not use a person's key: whoever controls the source could then open tunnels to the relay."""
    if not isinstance(source.host, UnmanagedSource):
        return
    keys = {read_key_data(key) for person in stack.admin.people for _, key in _keys_of(person)}
    if read_key_data(source.host.public_key) in keys:
        what = "is a person's key too: whoever controls this source could open tunnels to the relay"
        yield Finding((*loc, "publicKey"), what, "a key that only this source has")


def require_user_of_image(stack: Settings) -> Iterator[Finding]:
    """A machine on AWS has only the account of Debian's images."""
    if isinstance(stack.intermediate, Ec2Vm) and stack.admin.user != DEFAULT_USER:
        what, allowed = "is not the account of Debian's images", f"{DEFAULT_USER} with intermediate.ec2"
        yield Finding(("admin", "user"), what, allowed, Fix(value=DEFAULT_USER))


def refuse_engines_key_elsewhere(stack: Settings) -> Iterator[Finding]:
    """The machine's first key is root's: no source and no person may have it."""
    relay = stack.intermediate
    if not isinstance(relay, Ec2Vm):
        return
    engine = read_key_data(relay.admin_public_key)
    others: list[tuple[Loc, str]] = []
    for index, source in enumerate(read_if_known(lambda: stack.sources) or ()):
        others += run_until_unknown(_key_of(index, source))
    for index, person in enumerate(read_if_known(lambda: stack.admin.people) or ()):
        others += [(("admin", "people", index, *loc), key) for loc, key in _keys_of(person)]
    for loc, key in others:
        if read_key_data(key) == engine:
            of = format_path(("intermediate", "ec2", "adminPublicKey"))
            what = f"is the key in {of} too: whoever holds it is root of the relay"
            yield Finding(loc, what, "another key than the engine's")


def _key_of(index: int, source: Source) -> Iterator[tuple[Loc, str]]:
    if isinstance(source.host, UnmanagedSource):
        yield ("sources", index, "publicKey"), source.host.public_key


def _keys_of(person: Person) -> Iterator[tuple[Loc, str]]:
    for number, key in enumerate(read_if_known(lambda: person.public_keys) or ()):
        yield ("publicKeys", number), key
