"""What the verbs take on the command line to reach a repository: a stack or a kit, the local stack's sandbox, and keys from files."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ops.checkout import ROOT
from ops.errors import LastcopyError, raise_all
from ops.history.dates import earlier
from ops.storage.access import (
    Access,
    Place,
    Room,
    StorageKey,
    Where,
    from_outputs,
    pick,
    read_storage_key,
    rooms_of,
    where_of,
)

if TYPE_CHECKING:
    from ops.kit.kit import Kit


SourceOption = Annotated[str, typer.Option("--source", help="The source's name.")]
StackOption = Annotated[
    str | None,
    typer.Option(
        "--stack", help="The stack, as `pulumi --stack` takes it. Default: the one selected in this shell."
    ),
]
ConfigFileOption = Annotated[
    Path | None,
    typer.Option("--config-file", help="The stack's settings, as `pulumi --config-file` takes them."),
]
SandboxStackOption = Annotated[
    Path | None,
    typer.Option(
        "--sandbox", help="The local stack's folder: the stack is this checkout's own, not the shell's."
    ),
]
KitOption = Annotated[
    Path | None,
    typer.Option("--kit", help="Take places and passwords from this recovery kit, not from a stack."),
]
PassphraseOption = Annotated[
    str | None, typer.Option("--passphrase-file", help="File with the kit's passphrase; - is standard input.")
]
IdentityOption = Annotated[
    str | None, typer.Option("--identity", help="File with the age identity of the kit.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--storage-key",
        help="File with a storage key that may list and read versions (rebuild: also write and hide); mode 0600, or - for standard input.",
    ),
]
SandboxOption = Annotated[
    Path | None,
    typer.Option(
        "--sandbox",
        help="The local stack's folder: the stack is this checkout's own, its storage's root is the storage key.",
    ),
]
LockWasOption = Annotated[
    list[str] | None,
    typer.Option(
        "--lock-was",
        help="The bucket's default retention before its last change, DAYS@TIME (not on AWS, where it is not asked for); may be given again.",
    ),
]
GenerationOption = Annotated[
    int | None, typer.Option("--generation", min=1, help="An earlier repository of the source.")
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The words as they were given."""

    source: str
    stack: str | None
    kit: Path | None
    passphrase_file: str | None
    identity: str | None
    storage_key: str | None
    sandbox: Path | None
    generation: int | None
    lock_was: tuple[str, ...] = ()


def check(asked: Asked) -> None:
    """What can be told of the words alone, before any tool is fetched or place dialled: all problems at once."""
    problems = []
    if asked.stack is not None and asked.kit is not None:
        problems.append(
            LastcopyError(
                "say where the passwords come from",
                where="--stack, --kit",
                allowed="one of them; without both, the stack that is selected in this shell",
            )
        )
    if asked.storage_key and asked.sandbox:
        problems.append(
            LastcopyError(
                "the sandbox brings its own storage key",
                where="--storage-key, --sandbox",
                allowed="one of them",
            )
        )
    if not asked.kit and not asked.storage_key and not asked.sandbox:
        problems.append(
            LastcopyError(
                "a stack holds no key that may list versions",
                where="--storage-key",
                fix="give the break-glass identity's file; for the local stack --sandbox .local/sandbox/local; or a recovery kit: --kit",
            )
        )
    for text in asked.lock_was:
        try:
            earlier(text, datetime.now(UTC))
        except LastcopyError as error:
            problems.append(error)
    raise_all(problems)


@contextmanager
def reached(asked: Asked) -> Iterator[Access]:
    """The access that was asked for; within, its storage can be dialled."""
    with reached_all(asked, (asked.source,)) as ((_, found),):
        if isinstance(found, LastcopyError):
            raise found
        yield found


@contextmanager
def reached_all(
    asked: Asked, sources: Sequence[str] = ()
) -> Iterator[list[tuple[str, Access | LastcopyError]]]:
    """The same for these sources, or for all: by name, an access or why there is none. The kit is opened and the engine asked once."""
    key = _storage_key(asked)
    found = _accesses(
        asked, key, sources
    )  # before the thread changes its network: the engine may need this one
    was = sorted(
        (earlier(text, datetime.now(UTC)) for text in asked.lock_was), key=lambda one: str(one.until)
    )
    where = next((one.where for _, one in found if isinstance(one, Access)), None)
    if where is None:
        yield found
        return
    with _dialled(asked, where) as there:  # of one stack, all stand in one storage
        yield [
            (
                name,
                one if isinstance(one, LastcopyError) else replace(one, where=there, lock_was=tuple(was)),
            )
            for name, one in found
        ]


@contextmanager
def places_reached(asked: Asked) -> Iterator[dict[str, Place]]:
    """Every source's place, or that of the one asked for; no repository's password is used, and from a stack none is read."""
    key = _storage_key(asked)
    where, rooms, key = _rooms(asked, key)
    if asked.source:
        rooms = {asked.source: pick(rooms, asked.source)}
    if not rooms:
        raise LastcopyError("the stack has no source", where="--stack", fix="pulumi up")
    with _dialled(asked, where) as where:
        yield {name: Place(where=where, room=room, key=key) for name, room in rooms.items()}


def _storage_key(asked: Asked) -> StorageKey | None:
    """From its file, or the sandbox's own root."""
    if asked.sandbox is None:
        return read_storage_key(asked.storage_key) if asked.storage_key else None
    from sandbox import Sandbox, SandboxError
    from sandbox.storage_server import root_credentials

    try:
        box = Sandbox(asked.sandbox)
        box.status()
        user, secret = root_credentials(box.storage_folder)
    except (SandboxError, OSError) as error:
        raise LastcopyError(str(error), where="--sandbox") from None
    return StorageKey.read({"accessKeyId": user, "secretAccessKey": secret}, "--sandbox")


@contextmanager
def _dialled(asked: Asked, where: Where) -> Iterator[Where]:
    if asked.sandbox is None:
        yield where
        return
    from sandbox import Sandbox

    with Sandbox(asked.sandbox).storage_admin() as (origin, ca, *_):
        there = {**where.model_dump(by_alias=True), "endpoint": origin, "caCertificate": Path(ca).read_text()}
        yield Where.read(there, "--sandbox")


def _kit(asked: Asked) -> Kit:
    from ops.kit.sealed import read_passphrase, unseal

    if asked.kit is None:
        raise AssertionError("checked before")
    phrase = read_passphrase(asked.passphrase_file) if asked.passphrase_file else None
    return unseal(asked.kit, passphrase=phrase, identity_file=asked.identity)


def _outputs(asked: Asked, *, secrets: bool) -> dict[str, Any]:
    from ops.stack import StackError, chosen  # imported late: a kit needs no engine

    try:
        return chosen(ROOT, asked.stack, sandbox=asked.sandbox).outputs(secrets=secrets)
    except StackError as error:
        raise LastcopyError(str(error), where="--stack", fix="or use the recovery kit: --kit") from None


def _rooms(asked: Asked, key: StorageKey | None) -> tuple[Where, dict[str, Room], StorageKey]:
    if asked.kit is not None:
        kit = _kit(asked)
        rooms: dict[str, Room] = {
            room.name: Room(**room.model_dump(exclude={"password"})) for room in kit.sources
        }
        return kit.where, rooms, kit.key(key)
    if key is None:
        raise AssertionError("checked before")
    outputs = _outputs(asked, secrets=False)
    return where_of(outputs), rooms_of(outputs), key


def _accesses(
    asked: Asked, key: StorageKey | None, sources: Sequence[str]
) -> list[tuple[str, Access | LastcopyError]]:
    if asked.kit is not None:
        kit = _kit(asked)
        return [
            (name, _access(asked, name, lambda name: kit.access(name, key)))
            for name in sources or [room.name for room in kit.sources]
        ]
    if key is None:
        raise AssertionError("checked before")
    given, outputs = key, _outputs(asked, secrets=True)
    return [
        (name, _access(asked, name, lambda name: from_outputs(outputs, name, given)))
        for name in sources or sorted(outputs.get("sources", {}))
    ]


def _access(asked: Asked, source: str, get: Callable[[str], Access]) -> Access | LastcopyError:
    try:
        found = get(source)
    except LastcopyError as error:
        return error
    if asked.generation is not None and asked.generation != found.room.generation:
        # What is recorded belongs to the stack's own generation.
        known = {"generation": asked.generation, "key_id": None, "repository_id": None}
        found = replace(found, room=found.room.model_copy(update=known))
    return found


@contextmanager
def errors_shown(console: Console, interrupted: str = "") -> Iterator[None]:
    """Errors of ours as text and exit status 1; an interruption, also by a lost connection, cleans up and says what it left."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except LastcopyError as error:
        console.print("error:", style="red", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(
            interrupted
            or "interrupted; no version was deleted. Run it again: a rebuild or prune goes on where it stopped, a restore with --existing update",
            markup=False,
        )
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
