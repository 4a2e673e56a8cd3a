"""Access request: which repositories a verb needs, and whether a stack or a recovery kit says how to reach them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.errors import LastcopyError, raise_all
from ops.history.dates import parse_retention
from ops.storage.access import (
    Access,
    RepositoryLocation,
    RepositoryRecord,
    StorageKey,
    StorageLocation,
    find_record,
    read_access,
    read_records,
    read_storage_key,
    read_storage_location,
)
from toolchain.checkout import ROOT

if TYPE_CHECKING:
    from ops.kit.kit import Kit


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """Options that select the operator's stack, for commands shown to a person. ``stack``: for verbs that change the stack; ``storage``:
    for verbs that read its storage."""

    stack: str = ""
    storage: str = ""


SELECTED_STACK = CommandOptions()


@dataclass(frozen=True, kw_only=True)
class StackLocations:
    """Where each source's repository is, by the source's name. ``stack``: the stack's name."""

    stack: str
    by_source: Mapping[str, RepositoryLocation]


@dataclass(frozen=True, kw_only=True)
class AccessRequest:
    """What the operator asked for. An empty ``source`` means all sources; the other fields match the options of the same names."""

    source: str
    stack: str | None
    kit: Path | None
    passphrase_file: str | None
    identity: str | None
    storage_key: str | None
    sandbox: Path | None
    generation: int | None
    lock_was: tuple[str, ...] = ()

    def options_for(self, stack: str, config_file: Path | None = None) -> CommandOptions:
        """The options for a command shown to a person. ``stack``: the stack's name, even if it was not given as an option."""
        # The folder names the stack of a sandbox.
        named = [] if self.sandbox and not self.stack else ["--stack", self.stack or stack]
        sandbox = _option("--sandbox", self.sandbox)
        kit = [
            *_option("--kit", self.kit),
            *_option("--passphrase-file", self.passphrase_file),
            *_option("--identity", self.identity),
        ]
        return CommandOptions(
            stack=shlex.join([*named, *_option("--config-file", config_file), *sandbox]),
            storage=shlex.join([*(kit or named), *_option("--storage-key", self.storage_key), *sandbox]),
        )


def _option(name: str, value: str | Path | None) -> list[str]:
    return [name, str(value)] if value else []


def check_request(request: AccessRequest) -> None:
    """Check the options themselves, before any tool is fetched or any host contacted.

    Raises LastcopyError with all problems at once.
    """
    problems = []
    if request.stack is not None and request.kit is not None:
        problems.append(
            LastcopyError(
                "say where the passwords come from",
                where="--stack, --kit",
                allowed="one of them; without both, the stack that is selected in this shell",
            )
        )
    if request.storage_key and request.sandbox:
        problems.append(
            LastcopyError(
                "the sandbox brings its own storage key",
                where="--storage-key, --sandbox",
                allowed="one of them",
            )
        )
    if not request.kit and not request.storage_key and not request.sandbox:
        problems.append(
            LastcopyError(
                "a stack holds no key that may list object versions",
                where="--storage-key",
                fix="give the file of the break-glass identity; for the local stack, --sandbox .local/sandbox/local; or use a recovery kit: --kit",
            )
        )
    for text in request.lock_was:
        try:
            parse_retention(text, datetime.now(UTC))
        except LastcopyError as error:
            problems.append(error)
    raise_all(problems)


@contextmanager
def open_access(request: AccessRequest) -> Iterator[Access]:
    """Open the requested repository's access. Its storage can be reached until the block ends."""
    with open_accesses(request, (request.source,)) as ((_, found),):
        if isinstance(found, LastcopyError):
            raise found
        yield found


@contextmanager
def open_accesses(
    request: AccessRequest, sources: Sequence[str] = ()
) -> Iterator[list[tuple[str, Access | LastcopyError]]]:
    """Open the access to these sources, or to all of them.

    Yields each source's name with its access, or with the error that explains why there is none. The kit is decrypted and the engine
    asked only once.
    """
    key = _storage_key(request)
    # Before this thread changes its network: the engine may need this one.
    found = _accesses(request, key, sources)
    was = sorted(
        (parse_retention(text, datetime.now(UTC)) for text in request.lock_was),
        key=lambda one: str(one.until),
    )
    where = next((one.where for _, one in found if isinstance(one, Access)), None)
    if where is None:
        yield found
        return
    with _dialled(request, where) as there:  # all sources of a stack are in one storage
        yield [
            (
                name,
                one if isinstance(one, LastcopyError) else replace(one, where=there, lock_was=tuple(was)),
            )
            for name, one in found
        ]


@contextmanager
def open_locations(request: AccessRequest) -> Iterator[StackLocations]:
    """Open the location of every source's repository, or of the requested one.

    No repository password is used, and none is read from a stack.
    """
    key = _storage_key(request)
    stack, where, records, key = _records(request, key)
    if request.source:
        records = {request.source: find_record(records, request.source)}
    if not records:
        raise LastcopyError("the stack has no source", where="--stack", fix="pulumi up")
    with _dialled(request, where) as where:
        found = {
            name: RepositoryLocation(where=where, record=record, key=key) for name, record in records.items()
        }
        yield StackLocations(stack=stack, by_source=found)


def _storage_key(request: AccessRequest) -> StorageKey | None:
    """The storage key from its file, or the root key of the sandbox's storage."""
    if request.sandbox is None:
        return read_storage_key(request.storage_key) if request.storage_key else None
    from sandbox import Sandbox
    from sandbox.storage_server import root_credentials

    try:
        box = Sandbox(request.sandbox)
        box.status()
        user, secret = root_credentials(box.storage_folder)
    except OSError as error:
        raise LastcopyError(str(error), where="--sandbox") from None
    return StorageKey.read({"accessKeyId": user, "secretAccessKey": secret}, "--sandbox")


@contextmanager
def _dialled(request: AccessRequest, where: StorageLocation) -> Iterator[StorageLocation]:
    if request.sandbox is None:
        yield where
        return
    from sandbox import Sandbox

    with Sandbox(request.sandbox).storage_admin() as (origin, ca, *_):
        there = {**where.model_dump(by_alias=True), "endpoint": origin, "caCertificate": Path(ca).read_text()}
        yield StorageLocation.read(there, "--sandbox")


def _kit(request: AccessRequest) -> Kit:
    from ops.kit.sealed import read_passphrase, unseal

    if request.kit is None:
        raise AssertionError("checked before")
    phrase = read_passphrase(request.passphrase_file) if request.passphrase_file else None
    return unseal(request.kit, passphrase=phrase, identity_file=request.identity)


def _outputs(request: AccessRequest, *, secrets: bool) -> tuple[str, dict[str, Any]]:
    """The stack's name and its outputs."""
    from ops.stack import StackError, choose_stack  # imported late: a kit needs no engine

    try:
        stack = choose_stack(ROOT, request.stack, sandbox=request.sandbox)
        return stack.name, stack.outputs(secrets=secrets)
    except StackError as error:
        raise error.or_else("or use the recovery kit: --kit") from None


def _records(
    request: AccessRequest, key: StorageKey | None
) -> tuple[str, StorageLocation, dict[str, RepositoryRecord], StorageKey]:
    if request.kit is not None:
        kit = _kit(request)
        records: dict[str, RepositoryRecord] = {
            record.name: RepositoryRecord(**record.model_dump(exclude={"password"})) for record in kit.sources
        }
        return kit.stack, kit.where, records, kit.key(key)
    if key is None:
        raise AssertionError("checked before")
    stack, outputs = _outputs(request, secrets=False)
    return stack, read_storage_location(outputs), read_records(outputs), key


def _accesses(
    request: AccessRequest, key: StorageKey | None, sources: Sequence[str]
) -> list[tuple[str, Access | LastcopyError]]:
    if request.kit is not None:
        kit = _kit(request)
        return [
            (name, _access(request, name, lambda name: kit.access(name, key)))
            for name in sources or [record.name for record in kit.sources]
        ]
    if key is None:
        raise AssertionError("checked before")
    given, (_, outputs) = key, _outputs(request, secrets=True)
    return [
        (name, _access(request, name, lambda name: read_access(outputs, name, given)))
        for name in sources or sorted(outputs.get("sources", {}))
    ]


def _access(request: AccessRequest, source: str, get: Callable[[str], Access]) -> Access | LastcopyError:
    try:
        found = get(source)
    except LastcopyError as error:
        return error
    if request.generation is not None and request.generation != found.record.generation:
        # The recorded ids belong to the stack's current generation.
        known = {"generation": request.generation, "key_id": None, "repository_id": None}
        found = replace(found, record=found.record.model_copy(update=known))
    return found
