"""Rules across the sections of a stack: the sandbox contains the whole chain or none of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from components.settings.ec2 import Ec2Vm
from components.settings.hosts import ExistingHost, ManagedHost, SandboxSource, SandboxVm
from components.settings.problems import Finding, Fix, Loc
from components.settings.sources import Source
from components.settings.stack import STORAGE, Settings
from components.settings.storage import S3Bucket, SandboxVault

_WHOLE = "the whole chain in the sandbox (intermediate, storage and sources), or none of it"
_IS_OUTSIDE = "is outside, but the relay is in the sandbox"
_IS_INSIDE = "is in the sandbox, but the relay is not"


def refuse_storage_elsewhere(stack: Settings) -> Iterator[Finding]:
    """Relay and storage are both in the sandbox, or neither is."""
    relay, storage = stack.intermediate, stack.storage
    if isinstance(relay, SandboxVm) and not isinstance(storage, SandboxVault):
        fix = Fix(remove=True, at=(STORAGE.key_of(storage),), add={"sandbox": {}})
        yield Finding(("storage",), _IS_OUTSIDE, _WHOLE, fix)
    if not isinstance(relay, SandboxVm) and isinstance(storage, SandboxVault):
        fix = Fix(remove=True, at=("sandbox",), add={"s3": S3Bucket.EXAMPLE})
        yield Finding(("storage",), _IS_INSIDE, _WHOLE, fix)


def refuse_source_elsewhere(stack: Settings, source: Source, loc: Loc) -> Iterator[Finding]:
    """A source that is reached by SSH is in the sandbox if and only if the relay is."""
    local = isinstance(stack.intermediate, SandboxVm)
    if not local and isinstance(source.host, SandboxSource):
        fix = Fix(remove=True, at=("sandbox",), add={"host": ManagedHost.EXAMPLE})
        yield Finding(loc, _IS_INSIDE, _WHOLE, fix)
    if local and isinstance(source.host, ManagedHost):
        fix = Fix(remove=True, at=("host",), add={"sandbox": {}})
        yield Finding(loc, _IS_OUTSIDE, _WHOLE, fix)


def refuse_unused_sandbox(stack: Settings) -> Iterator[Finding]:
    """The sandbox's network and driver are set only if the sandbox is used."""
    if isinstance(stack.intermediate, ExistingHost | Ec2Vm) and stack.sandbox.model_fields_set:
        yield Finding(("sandbox",), "nothing here is in the sandbox", _WHOLE, Fix(remove=True))


def require_large_enough_network(stack: Settings) -> Iterator[Finding]:
    """The sandbox's network has an address for every machine."""
    if not isinstance(stack.intermediate, SandboxVm):
        return
    # Besides the sources: network and broadcast address, this workstation, relay, storage.
    least, found = len(stack.sources) + 5, ipaddress.ip_network(stack.sandbox.network).num_addresses
    if found < least:
        what = f"has {found} addresses, too few for {len(stack.sources)} sources, relay and storage"
        yield Finding(("sandbox", "network"), what, f"at least {least} addresses")
