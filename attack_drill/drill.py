"""One attack drill: the stack, its hosts and storage, the source whose root the attacker is, and how far the drill may go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attack_drill.errors import DrillError
from attack_drill.http2 import Session
from attack_drill.options import DrillOptions, Level
from attack_drill.scratch_repository import ENTRIES, ScratchRepository, remove_leftovers
from attack_drill.storage_admin import StorageAdmin, open_storage_admin
from ops.errors import LastcopyError
from ops.hosts.connection import SshHost, open_hosts
from ops.hosts.endpoints import AdminKeys, read_admin_keys, read_endpoints, read_sandbox_endpoints
from ops.private_folder import private_folder
from ops.storage.access import (
    RepositoryRecord,
    StorageKey,
    StorageLocation,
    read_records,
    read_storage_key,
    read_storage_location,
)

if TYPE_CHECKING:
    from ops.stack import Stack

SSH = ("ssh", "-F", "/etc/lastcopy/ssh_config")
Say = Callable[[str], None]


@dataclass(kw_only=True)
class Drill:
    """What every row gets.

    Args:
        stack: The stack that is attacked.
        outputs: Its outputs.
        config: Its settings without the prefix ``lastcopy:``, secrets in plain.
        hosts: Connections by name: ``relay`` and the sources that can be reached.
        source: The source whose root the attacker is.
        storage: The storage as its administrator sees it, which is what attempts are judged by; None without that key.
        level: The greatest harm that an attempt may do if it succeeds.
        folder: A private folder on this machine, removed afterwards.
        say: Shows a message to the operator.
        sandbox: The local stack's folder, if the stack is a local one.
    """

    stack: Stack
    outputs: Mapping[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    hosts: Mapping[str, SshHost]
    source: str
    storage: StorageAdmin | None
    level: Level
    folder: Path
    say: Say
    sandbox: Path | None = None
    _scratch_repositories: list[ScratchRepository] = field(default_factory=list)
    _shared: dict[str, ScratchRepository] = field(default_factory=dict)

    @property
    def relay(self) -> SshHost:
        return self.hosts["relay"]

    @property
    def victim(self) -> SshHost:
        """The source's host, where the attacker is root."""
        return self.hosts[self.source]

    @property
    def others(self) -> list[str]:
        """The other sources whose hosts can be reached."""
        return [name for name in self.hosts if name not in ("relay", self.source)]

    @property
    def repositories(self) -> Mapping[str, RepositoryRecord]:
        """The records of the sources' repositories in the stack's outputs."""
        return read_records(self.outputs)

    @property
    def where(self) -> StorageLocation:
        """The storage according to the stack's outputs."""
        return read_storage_location(self.outputs)

    def may(self, level: Level) -> bool:
        return level <= self.level

    def path(self, source: str | None = None) -> str:
        """A source's repository prefix in the bucket, such as ``prefix/web1/g1/``."""
        name = source or self.source
        return f"{self.where.prefix}/{name}/g{self.repositories[name].generation}/".lstrip("/")

    def ssh(self, *options: str) -> list[str]:
        """An ssh command for the victim that uses the source's key and none of the limits in our own client configuration."""
        config = self.victim.run("cat", "/etc/lastcopy/ssh_config").out
        found = dict(re.findall(r"^ *(HostName|Port) (\S+)$", config, re.MULTILINE))
        given = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            f"User=bk-{self.source}",
        ]
        given += [f"HostName={found['HostName']}", f"Port={found['Port']}", "IdentitiesOnly=yes"]
        words = [word for option in given for word in ("-o", option)]
        return ["ssh", "-F", "/dev/null", "-i", "/etc/lastcopy/id_ed25519", *words, *options]

    def session(self, source: str | None = None, patience: float = 30) -> Session:
        """A session in raw HTTP/2 with the source's own key. For reading only: write in a scratch repository's session."""
        host = self.hosts[source or self.source]
        return Session(host.words(*SSH, "relay"), patience=patience)

    def scratch_repository(self, source: str | None = None, *, fresh: bool = False) -> ScratchRepository:
        """A scratch repository beside the source's own, removed when the drill ends.

        Args:
            source: The source beside whose repository it is made; by default the attacked source.
            fresh: Make one that no other row uses, for rows that leave garbage behind.
        """
        if not self.may(Level.SCRATCH):
            raise AssertionError("ask `may` first")
        name = source or self.source
        if fresh or name not in self._shared:
            made = ScratchRepository(source=name, host=self.hosts[name], relay=self.relay)
            # Before it is complete, so that an incomplete one is removed as well.
            self._scratch_repositories.append(made)
            made.make()
            if fresh:
                return made
            self._shared[name] = made
        return self._shared[name]

    def stolen_key(self, source: str | None = None) -> StorageKey:
        """A source's storage identity, as root on the relay reads it."""
        file = f"{ENTRIES}/{source or self.source}/credentials"
        text = self.relay.run("cat", file, check=False).out
        found = dict(re.findall(r"^aws_(access_key_id|secret_access_key)=(.*)$", text, re.MULTILINE))
        if len(found) != 2:
            raise DrillError("the relay's entry names no S3 identity", where=file, fix="pulumi up")
        return StorageKey(access_key_id=found["access_key_id"], secret_access_key=found["secret_access_key"])

    def require_storage(self) -> StorageAdmin:
        """The storage as its administrator sees it.

        Raises:
            DrillError: No storage key was given.
        """
        if self.storage is None:
            raise DrillError("there is no storage key", where="--storage-key, --sandbox")
        return self.storage

    def clean_up(self) -> None:
        """Remove everything that the drill made. A failure to remove one part does not stop the others.

        Raises:
            LastcopyError: Something is left over; the error says how to remove it.
        """
        problems = []
        for made in self._scratch_repositories:
            for work in (made.remove, lambda made=made: self._hide(made)):
                try:
                    work()
                except (LastcopyError, OSError) as error:
                    problems.append(
                        LastcopyError(
                            f"{made.name} was not completely removed: {error}",
                            fix="run the drill again: it removes what an earlier one left",
                        )
                    )
        self._scratch_repositories.clear()
        self._shared.clear()
        if problems:
            raise problems[0]

    def _hide(self, made: ScratchRepository) -> None:
        if self.storage is not None and made.path:
            count = self.storage.hide(f"{made.path}/")
            self.say(
                f"{made.name}: {count} objects hidden; their versions are kept until the storage's lock ends"
            )


@contextmanager
def open_drill(options: DrillOptions, stack: Stack, say: Say) -> Iterator[Drill]:
    """Connect to everything that the rows need. Nothing of the drill is left on any host afterwards.

    Raises:
        DrillError: The stack was not made for trials but trials were asked for, or the source cannot be reached.
    """
    outputs = stack.outputs()
    config = stack.config()
    if options.level is Level.TRIAL and not is_trial(config):
        raise DrillError(
            "this stack's storage was not made for trials, and some attempts would harm it if they succeeded", where="--trial-stack",
            allowed="a stack with storage.sandbox, or storage.aws.purpose: test",
            fix="leave out --trial-stack; --scratch plays everything that is safe on a real stack",
        )  # fmt: skip
    managed = [name for name, summary in outputs.get("sources", {}).items() if summary.get("managed")]
    source = _choose_source(options, managed, stack.name)
    with ExitStack() as opened:
        folder = opened.enter_context(private_folder("attack"))
        targets = (
            read_sandbox_endpoints(options.sandbox, outputs, managed)
            if options.sandbox
            else read_endpoints(outputs, managed, _keys(options, config, folder))
        )
        reached = opened.enter_context(open_hosts(targets, folder))
        storage = (
            opened.enter_context(_open_storage(options, outputs, folder)) if _has_storage(options) else None
        )
        left = remove_leftovers(reached["relay"], [reached[name] for name in managed])
        if left:
            say(f"removed what an earlier drill left: {', '.join(left)}")
        drill = Drill(
            stack=stack, outputs=outputs, config=config, hosts=reached, source=source, storage=storage, level=options.level, folder=folder, say=say,
            sandbox=options.sandbox,
        )  # fmt: skip
        try:
            yield drill
        finally:
            drill.clean_up()


def _choose_source(options: DrillOptions, managed: list[str], stack: str) -> str:
    if not managed:
        raise DrillError(
            "this stack has no source that can be reached", where=f"stack {stack}", fix="pulumi up"
        )
    source = options.source or managed[0]
    if source not in managed:
        raise DrillError(
            f"there is no reachable source {source!a}",
            where="--source",
            allowed=f"one of: {', '.join(managed)}",
        )
    return source


def is_trial(config: Mapping[str, Any]) -> bool:
    """Whether the stack's storage may be destroyed: it is the sandbox's, or a bucket made for trials."""
    storage = config.get("storage") or {}
    return "sandbox" in storage or (storage.get("aws") or {}).get("purpose") == "test"


def _has_storage(options: DrillOptions) -> bool:
    return options.sandbox is not None or options.storage_key is not None


@contextmanager
def _open_storage(options: DrillOptions, outputs: Mapping[str, Any], folder: Path) -> Iterator[StorageAdmin]:
    where = read_storage_location(outputs)
    ca = None
    if where.ca_certificate:
        ca = folder / "storage-ca.pem"
        ca.write_text(where.ca_certificate)
    if options.sandbox is None:
        key = read_storage_key(options.storage_key or "")
        with open_storage_admin(where, key, ca) as made:
            yield made
        return
    from sandbox import Sandbox
    from sandbox.storage_server import root_credentials

    box = Sandbox(options.sandbox)
    user, secret = root_credentials(box.storage_folder)
    with (
        box.driver.storage_dial() as origin
    ):  # only its address is needed: the storage's thread connects by itself
        pass
    seen = StorageLocation.model_validate({**where.model_dump(), "endpoint": origin})
    with open_storage_admin(
        seen, StorageKey(access_key_id=user, secret_access_key=secret), ca, box.storage_admin()
    ) as made:
        yield made


def _keys(options: DrillOptions, config: Mapping[str, Any], folder: Path) -> AdminKeys:
    """The keys with which `pulumi up` connects, unless another key is given for all hosts."""
    if "sandbox" in (config.get("intermediate") or {}):
        raise DrillError(
            "this stack's hosts are machines of a sandbox",
            where="--sandbox",
            fix="pass its folder: --sandbox .local/sandbox/STACK",
        )
    return AdminKeys(common=options.ssh_key) if options.ssh_key else read_admin_keys(config, folder)
