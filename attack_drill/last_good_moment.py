"""Recovery of a scratch repository from its last good moment, as `lastcopy recover` does it, compared with the source's tree."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from attack_drill.drill import Drill
from attack_drill.scratch_repository import ScratchRepository, tree_digest
from ops.errors import LastcopyError, escape_text
from ops.private_folder import private_folder
from ops.recover.recovery import open_recovery
from ops.recover.restore import restore
from ops.restic.repository import Tools
from ops.storage.access import Access, RepositoryRecord


@dataclass(frozen=True, kw_only=True)
class RecoveryOutcome:
    """The result of a recovery.

    Args:
        moment: The last good moment; None if none was found.
        good: How many of the drill's snapshots exist at that moment.
        same: How many of them were restored byte for byte.
        seen: Why that moment was chosen, or why none was found.
        seconds: How long it took.
    """

    moment: datetime | None
    good: int
    same: int
    seen: str
    seconds: float


def recover_last_good(drill: Drill, made: ScratchRepository) -> RecoveryOutcome:
    """Find the last good moment, and restore each of the drill's snapshots from the repository as it was then."""
    storage = drill.require_storage()
    access = Access(
        where=storage.where,
        record=RepositoryRecord(name=made.source),
        key=storage.admin,
        password=SecretStr(made.host.run("cat", f"{made.folder}/password").out),
        place=made.path,
    )
    said: list[str] = []

    def work(
        _: object,
    ) -> RecoveryOutcome:  # in the storage's thread: restic's connections start in that thread's network
        began = time.monotonic()
        with (
            open_recovery(access, Tools.get(), said.append) as found,
            private_folder("back", drill.folder) as folder,
        ):
            good = found.open_moment(None, even_if_damaged=False)
            wanted = [one for one in good.snapshots if one["id"] in made.snapshots]
            same = 0
            for one in wanted:
                target = folder / one["id"][:12]
                restore(good, one, target)
                # The path in the snapshot is the one that restic was given: relative or absolute.
                tree = next(
                    (
                        one
                        for one in (target / made.folder.lstrip("/") / "tree", target / "tree")
                        if one.is_dir()
                    ),
                    target,
                )
                (tree / "sub" / "stamp").unlink(missing_ok=True)  # it differs between the two snapshots
                same += tree_digest(tree) == made.manifest
            return RecoveryOutcome(
                moment=good.at, good=len(wanted), same=same, seen=good.why, seconds=time.monotonic() - began
            )

    try:
        return storage.call(work)
    except LastcopyError as error:
        return RecoveryOutcome(
            moment=None, good=0, same=0, seen=escape_text(f"{error.what} {said[-1:]}", 300), seconds=0
        )
