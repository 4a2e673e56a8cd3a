"""Ground: what a row has to play on. One stack, one source whose root the attacker is, and what the drill may do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attack_drill.errors import DrillError
from attack_drill.http2 import Session
from attack_drill.model import Asked, Level
from attack_drill.storage import Desk, desk
from attack_drill.throwaway import ROOM, Throwaway, clear_leftovers
from ops.errors import RecoverError
from ops.hosts.connection import Host, hosts
from ops.hosts.endpoints import AdminKeys, admin_keys, endpoints, sandbox_endpoints
from ops.private_folder import private_folder
from ops.storage.access import Room, StorageKey, Where, read_storage_key, rooms_of, where_of

if TYPE_CHECKING:
    from ops.stack import Stack

SSH = ("ssh", "-F", "/etc/lastcopy/ssh_config")
Say = Callable[[str], None]


@dataclass(kw_only=True)
class Ground:
    """Everything of one drill. ``source``: whose root the attacker is. ``desk``: the storage's judge, None without its key."""

    stack: Stack
    outputs: Mapping[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(
        repr=False
    )  # the stack's settings, without `lastcopy:`; secrets in plain
    hosts: Mapping[str, Host]
    source: str
    desk: Desk | None
    level: Level
    folder: Path
    say: Say
    sandbox: Path | None = None  # of a local stack
    _throwaways: list[Throwaway] = field(default_factory=list)
    _shared: dict[str, Throwaway] = field(default_factory=dict)

    @property
    def relay(self) -> Host:
        return self.hosts["relay"]

    @property
    def victim(self) -> Host:
        """The source's host, taken by the attacker: root there."""
        return self.hosts[self.source]

    @property
    def others(self) -> list[str]:
        """Other sources whose hosts can be reached."""
        return [name for name in self.hosts if name not in ("relay", self.source)]

    @property
    def rooms(self) -> Mapping[str, Room]:
        return rooms_of(self.outputs)

    @property
    def where(self) -> Where:
        """The storage as the outputs tell it."""
        return where_of(self.outputs)

    def may(self, level: Level) -> bool:
        return level <= self.level

    def path(self, source: str | None = None) -> str:
        """Below the bucket: the source's own repository, ``prefix/web1/g1/``."""
        name = source or self.source
        return f"{self.where.prefix}/{name}/g{self.rooms[name].generation}/".lstrip("/")

    def ssh(self, *options: str) -> list[str]:
        """The source's key in a client of the attacker's own, to be run on the victim: nothing of our configuration holds it back."""
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
        """Raw HTTP/2 over the forced command with the source's own key: look, never write (that is for a throwaway's session)."""
        host = self.hosts[source or self.source]
        return Session(host.words(*SSH, "relay"), patience=patience)

    def throwaway(self, source: str | None = None, *, fresh: bool = False) -> Throwaway:
        """The drill's own repository in that source's room, removed with the drill. ``fresh``: one that no row has touched, for who leaves garbage."""
        if not self.may(Level.THROWAWAY):
            raise AssertionError("ask `may` first")
        name = source or self.source
        if fresh or name not in self._shared:
            made = Throwaway(source=name, host=self.hosts[name], relay=self.relay)
            self._throwaways.append(made)  # before it stands: what is half made is removed as well
            made.make()
            if fresh:
                return made
            self._shared[name] = made
        return self._shared[name]

    def thief(self, source: str | None = None) -> StorageKey:
        """The storage identity of a source, as root on the relay reads it (R rows)."""
        file = f"{ROOM}/{source or self.source}/credentials"
        text = self.relay.run("cat", file, check=False).out
        found = dict(re.findall(r"^aws_(access_key_id|secret_access_key)=(.*)$", text, re.MULTILINE))
        if len(found) != 2:
            raise DrillError("the relay's entry names no S3 identity", where=file, fix="pulumi up")
        return StorageKey(access_key_id=found["access_key_id"], secret_access_key=found["secret_access_key"])

    def judge(self) -> Desk:
        """The desk, for rows that asked `ground.desk is not None` before."""
        if self.desk is None:
            raise DrillError("there is no storage key", where="--storage-key, --sandbox")
        return self.desk

    def clean_up(self) -> None:
        """Everything that the drill made is removed, each part whatever became of the others; what could not be is told."""
        problems = []
        for made in self._throwaways:
            for work in (made.remove, lambda made=made: self._hide(made)):
                try:
                    work()
                except (RecoverError, OSError) as error:
                    problems.append(
                        RecoverError(
                            f"{made.name} was not wholly removed: {error}",
                            fix="run the drill again: it removes what an earlier one left",
                        )
                    )
        self._throwaways.clear()
        self._shared.clear()
        if problems:
            raise problems[0]

    def _hide(self, made: Throwaway) -> None:
        if self.desk is not None and made.path:
            count = self.desk.hide(f"{made.path}/")
            self.say(f"{made.name}: {count} objects hidden; they stay under the storage's lock until it ends")


@contextmanager
def ground(asked: Asked, stack: Stack, say: Say) -> Iterator[Ground]:
    """Ready to play; within, everything can be reached, and afterwards nothing of the drill stands on any host."""
    outputs = stack.outputs()
    config = stack.config()
    if asked.level is Level.TRIAL and not is_trial(config):
        raise DrillError(
            "this stack's storage is not one made for trials, and some attempts would harm it if they succeeded", where="--trial-stack",
            allowed="a stack with storage.sandbox, or storage.aws.purpose: test",
            fix="leave --trial-stack out; --throwaway plays all that a real stack can take",
        )  # fmt: skip
    managed = [name for name, summary in outputs.get("sources", {}).items() if summary.get("managed")]
    if not managed:
        raise DrillError(
            "this stack has no source that can be reached", where=f"stack {stack.name}", fix="pulumi up"
        )
    source = asked.source or managed[0]
    if source not in managed:
        raise DrillError(
            f"there is no reachable source {source!a}",
            where="--source",
            allowed=f"one of: {', '.join(managed)}",
        )
    with ExitStack() as opened:
        folder = opened.enter_context(private_folder("attack"))
        doors = (
            sandbox_endpoints(asked.sandbox, outputs, managed)
            if asked.sandbox
            else endpoints(outputs, managed, _keys(asked, config, folder))
        )
        reached = opened.enter_context(hosts(doors, folder))
        judge = opened.enter_context(_desk(asked, outputs, folder)) if _has_desk(asked) else None
        left = clear_leftovers(reached["relay"], [reached[name] for name in managed])
        if left:
            say(f"removed what an earlier drill left: {', '.join(left)}")
        made = Ground(
            stack=stack, outputs=outputs, config=config, hosts=reached, source=source, desk=judge, level=asked.level, folder=folder, say=say,
            sandbox=asked.sandbox,
        )  # fmt: skip
        try:
            yield made
        finally:
            made.clean_up()


def is_trial(config: Mapping[str, Any]) -> bool:
    """Whether the stack's storage is one that may be destroyed: the sandbox's, or a bucket made for trials."""
    storage = config.get("storage") or {}
    return "sandbox" in storage or (storage.get("aws") or {}).get("purpose") == "test"


def _has_desk(asked: Asked) -> bool:
    return asked.sandbox is not None or asked.storage_key is not None


@contextmanager
def _desk(asked: Asked, outputs: Mapping[str, Any], folder: Path) -> Iterator[Desk]:
    where = where_of(outputs)
    ca = None
    if where.ca_certificate:
        ca = folder / "storage-ca.pem"
        ca.write_text(where.ca_certificate)
    if asked.sandbox is None:
        key = read_storage_key(asked.storage_key or "")
        with desk(where, key, ca) as made:
            yield made
        return
    from sandbox import Sandbox
    from sandbox.storage_server import root_credentials

    box = Sandbox(asked.sandbox)
    user, secret = root_credentials(box.storage_folder)
    with (
        box.driver.storage_dial() as origin
    ):  # its origin alone is wanted here; the desk's thread goes there itself
        pass
    seen = Where.model_validate({**where.model_dump(), "endpoint": origin})
    with desk(
        seen, StorageKey(access_key_id=user, secret_access_key=secret), ca, box.storage_admin()
    ) as made:
        yield made


def _keys(asked: Asked, config: Mapping[str, Any], folder: Path) -> AdminKeys:
    """As `pulumi up` comes in, unless another key is given for all hosts."""
    if "sandbox" in (config.get("intermediate") or {}):
        raise DrillError(
            "this stack's hosts are machines of a sandbox",
            where="--sandbox",
            fix="give its folder: --sandbox .local/sandbox/STACK",
        )
    return AdminKeys(common=asked.ssh_key) if asked.ssh_key else admin_keys(config, folder)
