"""The trusted place: recovery and prune on a throwaway repository, straight on the storage with the administrator's key, as the operator's verbs do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from attack_drill.forge import Master, master_in
from attack_drill.ground import Ground
from attack_drill.http2 import Request
from attack_drill.storage import Desk
from attack_drill.throwaway import Throwaway, manifest_of
from ops.errors import RecoverError
from ops.private_folder import private_folder
from ops.prune.prune import Outlook, Pruned, Wishes, outlook, prune
from ops.prune.retention import Keep
from ops.prune.suspicion import Limits
from ops.recover.recovery import Recovery, recovery
from ops.recover.restore import restore
from ops.restic.repository import Tools
from ops.storage.access import Access, Place, Room

T = TypeVar("T")
# All snapshots of a drill come within a minute: only --keep-last can tell them apart.
KEEP_ONE = Keep(last=1, daily=0, weekly=0, monthly=0)


@dataclass(kw_only=True)
class Trusted:
    """The operator's tools on one throwaway. ``key_id``: of the key that `restic init` made, as the stack records it."""

    made: Throwaway
    desk: Desk
    tools: Tools
    key_id: str
    key_file: bytes = field(repr=False)
    password: str = field(repr=False)

    @property
    def master(self) -> Master:
        """What the attacker, who holds the password, reads out of his own repository."""
        return master_in(self.key_file, self.password)

    @property
    def access(self) -> Access:
        return Access(
            where=self.desk.where,
            room=Room(name=self.made.name, key_id=self.key_id),
            key=self.desk.admin,
            password=SecretStr(self.password),
            place=self.made.path,
        )

    @property
    def place(self) -> Place:
        """The same without the password."""
        found = self.access
        return Place(where=found.where, room=found.room, key=found.key, place=self.made.path)

    def on_it(self, work: Callable[[Recovery], T]) -> T:
        """``work`` with the repository as it stands, in the thread that reaches the storage."""

        def there(_: object) -> T:
            with recovery(self.access, self.tools, lambda _: None) as found:
                return work(found)

        return self.desk.do(there)

    def last(self) -> datetime:
        """The time of the newest thing that the storage remembers there, by its own clock."""
        found = self.on_it(lambda found: found.history.last)
        if found is None:
            raise AssertionError("a throwaway is not empty")
        return found

    def look(self, *set_aside: str) -> Outlook:
        return self.on_it(lambda found: outlook(found, wishes(*set_aside)))

    def prune(self, *set_aside: str, seen_until: datetime | None = None) -> tuple[Pruned | None, str]:
        """`ops prune run --keep-last 1`: what was done, or why it refused."""
        try:
            return self.on_it(
                lambda found: prune(outlook(found, wishes(*set_aside, seen_until=seen_until)))
            ), ""
        except RecoverError as refusal:
            return None, str(refusal)

    def recovered(self, snapshot: str) -> tuple[bool, str]:
        """`ops recover restore`: whether that snapshot comes back byte for byte, at the moment that it finds by itself."""
        with private_folder("back") as folder:
            target = folder / "back"
            try:
                at = self.on_it(lambda found: _restored(found, snapshot, target))
            except RecoverError as error:
                return False, str(error)
            tree = next((path for path in target.rglob("tree") if path.is_dir()), target)
            same = manifest_of(tree) == self.made.manifest
            return (
                same,
                f"snapshot {snapshot[:8]} of {at} restored, its tree {'is the same' if same else 'DIFFERS'}",
            )

    def post(self, kind: str, files: list[tuple[str, bytes]]) -> int:
        """Sent by the source's root over the forced command; how many were taken."""
        with self.made.session(patience=60) as session:
            answers = session.together([Request("POST", f"/{kind}/{name}", body) for name, body in files])
        return sum(answer.status == 200 for answer in answers)


def wishes(*set_aside: str, seen_until: datetime | None = None) -> Wishes:
    return Wishes(keep=KEEP_ONE, limits=Limits(), set_aside=set_aside, seen_until=seen_until)


def _restored(found: Recovery, snapshot: str, target: Path) -> str:
    good = found.good(None, even_if_damaged=False)
    chosen = next((one for one in good.snapshots if one["id"] == snapshot), None)
    if chosen is None:
        raise RecoverError(f"snapshot {snapshot[:8]} is not in the good moment that was found")
    restore(good, chosen, target)
    return good.at.astimezone(UTC).isoformat(timespec="seconds")


@contextmanager
def trusted(ground: Ground) -> Iterator[Trusted]:
    """On a fresh throwaway; its notes beside the rooms are hidden afterwards."""
    made, desk = ground.throwaway(fresh=True), ground.judge()
    (key,) = (one for one in desk.versions(f"{made.path}/keys/", contents=False) if one.latest)
    content = desk.do(lambda s3: bytes(s3.get_object(Bucket=desk.where.bucket, Key=key.key)["Body"].read()))
    try:
        yield Trusted(
            made=made,
            desk=desk,
            tools=Tools.get(),
            key_id=key.key.rsplit("/", 1)[-1],
            key_file=content,
            password=made.host.run("cat", f"{made.folder}/password").out,
        )
    finally:
        for notes in ("prunes", "checkpoints", "accepted"):
            desk.hide(f"{desk.where.prefix}/_lastcopy/{notes}/{made.name}/".lstrip("/"))
