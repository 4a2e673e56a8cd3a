"""Past: what `ops recover` gives back of a throwaway, by its own engine, compared with the tree that stood on the source."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from attack_drill.ground import Ground
from attack_drill.throwaway import Throwaway, manifest_of
from ops.errors import RecoverError, shown
from ops.private_folder import private_folder
from ops.recover.recovery import recovery
from ops.recover.restore import restore
from ops.restic.repository import Tools
from ops.storage.access import Access, Room


@dataclass(frozen=True, kw_only=True)
class Back:
    """``same``: how many of the good snapshots came back with the known tree, byte for byte. ``seen``: what there is to say."""

    moment: datetime | None
    good: int
    same: int
    seen: str
    seconds: float


def recovered(ground: Ground, made: Throwaway) -> Back:
    """The last good moment, found as `ops recover` finds it; each good snapshot restored from the view of it."""
    judge = ground.judge()
    access = Access(
        where=judge.where,
        room=Room(name=made.source),
        key=judge.admin,
        password=SecretStr(made.host.run("cat", f"{made.folder}/password").out),
        place=made.path,
    )
    said: list[str] = []

    def work(_: object) -> Back:  # in the desk's thread: restic's own connections start where that one stands
        began = time.monotonic()
        with (
            recovery(access, Tools.get(), said.append) as found,
            private_folder("back", ground.folder) as folder,
        ):
            good = found.good(None, even_if_damaged=False)
            wanted = [one for one in good.snapshots if one["id"] in made.snapshots]
            same = 0
            for one in wanted:
                target = folder / one["id"][:12]
                restore(good, one, target)
                # As restic was given it: by its own name or by the whole path.
                tree = next(
                    (
                        one
                        for one in (target / made.folder.lstrip("/") / "tree", target / "tree")
                        if one.is_dir()
                    ),
                    target,
                )
                (tree / "sub" / "stamp").unlink(
                    missing_ok=True
                )  # what tells the second snapshot from the first
                same += manifest_of(tree) == made.manifest
            return Back(
                moment=good.at, good=len(wanted), same=same, seen=good.why, seconds=time.monotonic() - began
            )

    try:
        return judge.do(work)
    except RecoverError as error:
        return Back(moment=None, good=0, same=0, seen=shown(f"{error.what} {said[-1:]}", 300), seconds=0)
