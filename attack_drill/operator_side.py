"""The operator's recovery and prune on a scratch repository: directly on the storage, with its administrator's key, as the commands do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from attack_drill.drill import Drill
from attack_drill.forged_objects import MasterKey, open_master_key
from attack_drill.http2 import RestRequest
from attack_drill.scratch_repository import ScratchRepository, tree_digest
from attack_drill.storage_admin import StorageAdmin
from ops.errors import LastcopyError
from ops.private_folder import private_folder
from ops.prune.prune import Outlook, PruneOptions, PruneResult, look_ahead, prune
from ops.prune.retention import Keep
from ops.prune.suspicion import PlausibleLimits
from ops.recover.recovery import Recovery, open_recovery
from ops.recover.restore import restore
from ops.restic.repository import Tools
from ops.storage.access import Access, RepositoryLocation, RepositoryRecord

T = TypeVar("T")
# A drill's snapshots are all made within a minute, so only --keep-last can tell them apart.
KEEP_ONE = Keep(last=1, daily=0, weekly=0, monthly=0)


@dataclass(kw_only=True)
class OperatorSide:
    """The operator's tools, set up for one scratch repository.

    Args:
        scratch: The repository.
        storage: The storage as its administrator sees it.
        tools: restic and what else recovery runs.
        key_id: The id of the key that `restic init` made, as the stack records it.
        key_file: That key's file.
        password: The repository's password.
    """

    scratch: ScratchRepository
    storage: StorageAdmin
    tools: Tools
    key_id: str
    key_file: bytes = field(repr=False)
    password: str = field(repr=False)

    @cached_property  # to derive it costs half a second each time, by the repository's own settings
    def master(self) -> MasterKey:
        """The key that the attacker, who holds the password, can read from the repository."""
        return open_master_key(self.key_file, self.password)

    @property
    def access(self) -> Access:
        return Access(
            where=self.storage.where,
            record=RepositoryRecord(name=self.scratch.name, key_id=self.key_id),
            key=self.storage.admin,
            password=SecretStr(self.password),
            place=self.scratch.path,
        )

    @property
    def place(self) -> RepositoryLocation:
        """The same as `access`, without the password."""
        found = self.access
        return RepositoryLocation(
            where=found.where, record=found.record, key=found.key, place=self.scratch.path
        )

    def with_recovery(self, work: Callable[[Recovery], T]) -> T:
        """Call ``work`` with the repository as it is now, in the thread that reaches the storage."""

        def there(_: object) -> T:
            with open_recovery(self.access, self.tools, lambda _: None) as found:
                return work(found)

        return self.storage.call(there)

    def newest_time(self) -> datetime:
        """The time of the newest version in the repository, by the storage's clock."""
        found = self.with_recovery(lambda found: found.history.last)
        if found is None:
            raise AssertionError("a scratch repository is not empty")
        return found

    def plan_prune(self, *set_aside: str) -> Outlook:
        return self.with_recovery(lambda found: look_ahead(found, wishes(*set_aside)))

    def prune(self, *set_aside: str, seen_until: datetime | None = None) -> tuple[PruneResult | None, str]:
        """Run `lastcopy prune run --keep-last 1`. Returns what was done, or None and why it was refused."""
        try:
            return self.with_recovery(
                lambda found: prune(look_ahead(found, wishes(*set_aside, seen_until=seen_until)))
            ), ""
        except LastcopyError as refusal:
            return None, str(refusal)

    def try_recover(self, snapshot: str) -> tuple[bool, str]:
        """Run `lastcopy recover restore` with the last good moment that it finds by itself.

        Returns:
            Whether the snapshot is restored byte for byte, and what was seen.
        """
        with private_folder("back") as folder:
            target = folder / "back"
            try:
                at = self.with_recovery(lambda found: _restored(found, snapshot, target))
            except LastcopyError as error:
                return False, str(error)
            tree = next((path for path in target.rglob("tree") if path.is_dir()), target)
            same = tree_digest(tree) == self.scratch.manifest
            return (
                same,
                f"snapshot {snapshot[:8]} of {at} restored, its tree {'is the same' if same else 'DIFFERS'}",
            )

    def upload_as_source(self, kind: str, files: list[tuple[str, bytes]]) -> int:
        """Upload files (name and content) as the source's root, over the forced command. Returns how many were accepted."""
        with self.scratch.session(patience=60) as session:
            answers = session.together([RestRequest("POST", f"/{kind}/{name}", body) for name, body in files])
        return sum(answer.status == 200 for answer in answers)


def wishes(*set_aside: str, seen_until: datetime | None = None) -> PruneOptions:
    return PruneOptions(keep=KEEP_ONE, limits=PlausibleLimits(), set_aside=set_aside, seen_until=seen_until)


def _restored(found: Recovery, snapshot: str, target: Path) -> str:
    good = found.open_moment(None, even_if_damaged=False)
    chosen = next((one for one in good.snapshots if one["id"] == snapshot), None)
    if chosen is None:
        raise LastcopyError(f"snapshot {snapshot[:8]} is not in the last good moment")
    restore(good, chosen, target)
    return good.at.astimezone(UTC).isoformat(timespec="seconds")


@contextmanager
def open_operator_side(drill: Drill) -> Iterator[OperatorSide]:
    """Set up the operator's tools for a fresh scratch repository, and hide the notes that they leave in the storage."""
    scratch, storage = drill.scratch_repository(fresh=True), drill.require_storage()
    (key,) = (one for one in storage.versions(f"{scratch.path}/keys/", contents=False) if one.latest)
    content = storage.call(
        lambda s3: bytes(s3.get_object(Bucket=storage.where.bucket, Key=key.key)["Body"].read())
    )
    try:
        yield OperatorSide(
            scratch=scratch,
            storage=storage,
            tools=Tools.get(),
            key_id=key.key.rsplit("/", 1)[-1],
            key_file=content,
            password=scratch.host.run("cat", f"{scratch.folder}/password").out,
        )
    finally:
        for notes in ("prunes", "checkpoints", "accepted"):
            storage.hide(f"{storage.where.prefix}/_lastcopy/{notes}/{scratch.name}/".lstrip("/"))
