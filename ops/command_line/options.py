"""Options that several verbs take, each declared once: alone, or in groups that a verb takes as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from ops.access_request import AccessRequest
from ops.command_line.output import engine_stream
from ops.stack import Stack, choose_stack
from toolchain.checkout import ROOT

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
KitOption = Annotated[
    Path | None,
    typer.Option("--kit", help="Take locations and passwords from this recovery kit, not from a stack."),
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
        help="File with a storage key that may list and read versions (for rebuild also write and hide); mode 0600, or - for standard input.",
    ),
]
SandboxOption = Annotated[
    Path | None,
    typer.Option(
        "--sandbox",
        help="The local stack's folder. The stack is then the checkout's own, and the storage key is the root key of its storage.",
    ),
]
LockWasOption = Annotated[
    list[str] | None,
    typer.Option(
        "--lock-was",
        help="The bucket's default retention before its last change, DAYS@TIME (not needed on AWS); may be repeated.",
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", help="The moment to go back to: UTC, ISO 8601. Default: the last good one."),
]
DamagedOption = Annotated[
    bool, typer.Option("--even-if-damaged", help="Continue although restic's check finds damage.")
]


class Options:
    """A group of options: a frozen dataclass whose fields are annotated like a verb's parameters."""


@dataclass(frozen=True, kw_only=True)
class StackOptions(Options):
    """Which stack a verb works on."""

    stack: StackOption = None
    config_file: ConfigFileOption = None
    sandbox: SandboxOption = None

    def open(self) -> Stack:
        """The stack that the options name."""
        stack = choose_stack(ROOT, self.stack, sandbox=self.sandbox, config_file=self.config_file)
        stack.stream = engine_stream()
        return stack

    def words(self, stack: Stack) -> str:
        """The same options, for a command shown to a person."""
        words = [*stack.configured, *(["--sandbox", str(self.sandbox)] if self.sandbox else [])]
        return " ".join(words)


@dataclass(frozen=True, kw_only=True)
class StorageOptions(Options):
    """Where a verb gets the locations and passwords of repositories, and the key to their storage."""

    stack: StackOption = None
    kit: KitOption = None
    passphrase_file: PassphraseOption = None
    identity: IdentityOption = None
    storage_key: KeyOption = None
    sandbox: SandboxOption = None

    def request(
        self, source: str = "", *, generation: int | None = None, lock_was: list[str] | None = None
    ) -> AccessRequest:
        """The access request. An empty ``source`` means all sources."""
        return AccessRequest(
            source=source, stack=self.stack, kit=self.kit, passphrase_file=self.passphrase_file, identity=self.identity,
            storage_key=self.storage_key, sandbox=self.sandbox, generation=generation, lock_was=tuple(lock_was or ()),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RepositoryOptions(StorageOptions):
    """Which repository a verb works on."""

    source: SourceOption
    generation: Annotated[
        int | None, typer.Option("--generation", min=1, help="An earlier repository of the source.")
    ] = None
    lock_was: LockWasOption = None

    @property
    def access(self) -> AccessRequest:
        """The access request for this repository."""
        return self.request(self.source, generation=self.generation, lock_was=self.lock_was)


def takes_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb for Typer: each parameter whose type is a group of options becomes the options of that group."""
    hints = get_type_hints(verb, include_extras=True)
    groups = {
        name: kind for name, kind in hints.items() if inspect.isclass(kind) and issubclass(kind, Options)
    }

    @wraps(verb)
    def command(**given: object) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{option.name: given.pop(option.name) for option in fields(kind)})  # type: ignore[arg-type]  # a dataclass, as Options says
        verb(**given)

    parameters = [
        one
        for name, parameter in inspect.signature(verb).parameters.items()
        for one in (
            _options_of(groups[name])
            if name in groups
            else [parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    return command


def _options_of(kind: type[Options]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    options = sorted(fields(kind), key=lambda option: option.default is not MISSING)  # type: ignore[arg-type]  # what must be given comes first
    for option in options:
        default = inspect.Parameter.empty if option.default is MISSING else option.default
        yield inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[option.name]
        )
