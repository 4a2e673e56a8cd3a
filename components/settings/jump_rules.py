"""Rules across the sections of a stack: every jump host is usable.

It is neither the relay, nor the host behind it, and it is not used for the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.settings.hosts import ExistingHost, ManagedHost, SandboxVm
from components.settings.jump import NONE, JumpHost
from components.settings.model import read_if_known
from components.settings.problems import Finding, Fix, Loc
from components.settings.sources import Source
from components.settings.ssh_keys import read_key_data
from components.settings.stack import Settings
from components.settings.values import is_loopback

_ANOTHER = "a host of its own whose sshd allows TCP forwarding"
_IS_THE_RELAY = ("is the relay itself, whose sshd forwards nothing", _ANOTHER, Fix(remove=True))


def refuse_useless_default(stack: Settings) -> Iterator[Finding]:
    """The admin's jump host is not the relay, and is not given for the sandbox."""
    jump, relay = stack.admin.jump_host, stack.intermediate
    if jump is not None and isinstance(relay, SandboxVm):
        what = "the sandbox's machines are dialled directly"
        yield Finding(("admin", "jumpHost"), what, "with hosts of your own only", Fix(remove=True))
    if jump is not None and isinstance(relay, ExistingHost) and is_same_machine(jump, relay):
        yield Finding(("admin", "jumpHost"), *_IS_THE_RELAY)


def refuse_useless_jump_of_relay(stack: Settings) -> Iterator[Finding]:
    """The relay's jump host is another machine, and reaches the relay at an address that is not loopback."""
    relay = stack.intermediate
    if isinstance(relay, ExistingHost) and isinstance(relay.jump_host, JumpHost):
        loc = ("intermediate", "existing", "jumpHost")
        if is_loopback(relay.address):
            yield _leads_to_loopback(loc)
        elif is_same_machine(relay.jump_host, relay):
            yield Finding(loc, *_IS_THE_RELAY)


def refuse_useless_jump_of_source(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """A source's jump host is neither the relay nor the source itself, and reaches the source at an address that is not loopback."""
    host, place = source.host, (*loc, "host", "jumpHost")
    if not isinstance(host, ManagedHost):
        return
    if isinstance(host.jump_host, JumpHost):
        relay = read_if_known(lambda: stack.intermediate)
        if is_loopback(host.address):
            yield _leads_to_loopback(place)
        elif isinstance(relay, ExistingHost) and is_same_machine(host.jump_host, relay):
            yield Finding(place, *_IS_THE_RELAY)
        elif is_same_machine(host.jump_host, host):
            what = "is the host that it should lead to"
            yield Finding(place, what, _ANOTHER, Fix(remove=True))
        return
    default = stack.admin.jump_host if host.jump_host is None else None
    if default is not None and is_same_machine(default, host):
        what = "is missing: lastcopy:admin.jumpHost is this very host, which is dialled directly"
        yield Finding(place, what, "none, or another jump host", Fix(value=NONE))


def _leads_to_loopback(loc: Loc) -> Finding:
    what = "leads to a loopback address, which would be the jump host's own"
    allowed = "none for a tunnel's end on this workstation; else the host's address as the jump host dials it"
    return Finding(loc, what, allowed, Fix(remove=True))


def is_same_machine(
    one: JumpHost | ManagedHost | ExistingHost, other: JumpHost | ManagedHost | ExistingHost
) -> bool:
    """Whether both are the same machine: by host key, or by address and port."""
    if is_same_endpoint(one, other):
        return True
    keys = read_if_known(lambda: (read_key_data(one.host_key), read_key_data(other.host_key)))
    return keys is not None and keys[0] == keys[1]


def is_same_endpoint(
    one: JumpHost | ManagedHost | ExistingHost, other: JumpHost | ManagedHost | ExistingHost
) -> bool:
    """Whether both have the same address and port; False if that is not known."""
    dialled = read_if_known(lambda: [(host.address.lower(), host.port) for host in (one, other)])
    return dialled is not None and dialled[0] == dialled[1]
