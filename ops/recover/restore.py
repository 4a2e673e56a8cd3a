"""Restore from a repository as it was, to a directory. Nothing that stands there is overwritten unless it was asked for."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ops.errors import LastcopyError, escape_text
from ops.recover.recovery import OpenedMoment
from ops.restic.repository import Repository, ResticResult

# refuse: the target must be empty; keep: what stands there stays; update: what differs from the snapshot is replaced
Existing = Literal["refuse", "keep", "update"]
# "always" compares contents. "if-changed" goes by size and time, which an encrypted file may have kept and a restore that failed has already set.
_OVERWRITE = {"refuse": "never", "keep": "never", "update": "always"}
_ID = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came back, and how long it took from the first byte of the restore on."""

    snapshot: str
    files: int
    size: int
    seconds: float


TargetState = Literal["empty", "filled", "other"]


class RestoreTarget(Protocol):
    """Where files come back to."""

    def state(self, target: Path) -> TargetState:
        """What stands there: nothing, something, or no directory."""

    def create(self, target: Path) -> None:
        """The directory, for its owner alone where it is new."""

    def free_bytes(self, target: Path) -> int:
        """Bytes."""

    def remove(self, files: Sequence[Path]) -> None:
        """These files; one that is not there is no error."""

    def restore(
        self, repository: Repository, words: Sequence[str], told: Callable[[dict[str, Any]], None]
    ) -> ResticResult:
        """restic, with these words."""


class LocalTarget:
    """This machine."""

    def state(self, target: Path) -> TargetState:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            return "other"
        try:
            return "filled" if target.exists() and any(target.iterdir()) else "empty"
        except OSError as error:
            raise LastcopyError(
                f"{escape_text(target)} cannot be read: {error.strerror}", where="--target"
            ) from None

    def create(self, target: Path) -> None:
        try:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LastcopyError(
                f"{escape_text(target)} cannot be made: {error.strerror}", where="--target"
            ) from None

    def free_bytes(self, target: Path) -> int:
        return shutil.disk_usage(target).free

    def remove(self, files: Sequence[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)

    def restore(
        self, repository: Repository, words: Sequence[str], told: Callable[[dict[str, Any]], None]
    ) -> ResticResult:
        return repository.follow(*words, told=told)


def check_target(target: Path, existing: Existing, place: RestoreTarget) -> None:
    """Asked before anything is read: a wrong target must not cost an hour first."""
    state = place.state(target)
    if state == "other":
        raise LastcopyError(
            f"{escape_text(target)} is not a directory", where="--target", allowed="a directory, new or empty"
        )
    if state == "filled" and existing == "refuse":
        raise LastcopyError(
            f"{escape_text(target)} is not empty; nothing was restored",
            where="--target",
            allowed="a directory, new or empty",
            fix="give another; or --existing keep (what stands there stays), or --existing update (what differs is replaced; goes on after an interruption)",
        )


def choose_snapshot(good: OpenedMoment, wanted: str | None) -> dict[str, Any]:
    """The snapshot: by id, or the one that the storage got last, whatever date it claims for itself."""
    if not good.snapshots:
        raise LastcopyError(
            "there is no readable snapshot at that moment", where="--at", fix="give a later --at"
        )
    if wanted is None:
        return good.snapshots[-1]
    found = [one for one in good.snapshots if _ID.fullmatch(wanted) and one["id"].startswith(wanted)]
    if len(found) != 1:
        some = ", ".join(one["id"][:8] for one in good.snapshots[-8:])
        raise LastcopyError(
            f"{len(found)} snapshots have the id {wanted!a}",
            where="--snapshot",
            allowed=f"8 to 64 hexadecimal digits of one; the newest are {some}",
        )
    return found[0]


def escape_pattern(path: str) -> str:
    """A path as an --include pattern that means only itself."""
    if not path.startswith("/") or any(part in (".", "..") for part in path.split("/")) or "\0" in path:
        raise LastcopyError(
            f"{escape_text(path)} is not a path in a snapshot",
            where="--path",
            allowed="absolute, without . and ..",
        )
    return re.sub(r"([\\*?\[])", r"\\\1", path.rstrip("/") or "/")


def _below(file: Path, target: Path) -> bool:
    return file.is_relative_to(target) and ".." not in file.parts


def restore(
    good: OpenedMoment,
    snapshot: dict[str, Any],
    target: Path,
    *,
    paths: Sequence[str] = (),
    existing: Existing = "refuse",
    verify: bool = False,
    told: Callable[[dict[str, Any]], None] = lambda _: None,
    place: RestoreTarget | None = None,
) -> Restored:
    """All or some paths of the snapshot, below ``target``. An error says what to do next; a new run with ``update`` goes on."""
    place = place or LocalTarget()
    check_target(target, existing, place)
    includes = [word for path in paths for word in ("--include", escape_pattern(path))]
    place.create(target)
    last: dict[str, Any] = {}

    def hear(message: dict[str, Any]) -> None:
        nonlocal last
        if message.get("message_type") == "summary":
            last = message
        told(message)

    began = time.monotonic()
    # --sparse: holes come back as holes, or a disk image that was a few GiB would not fit onto the disk that it came from.
    words = ["restore", "--sparse", snapshot["id"], "--target", str(target)]
    words += ["--overwrite", _OVERWRITE[existing]]
    words += [*includes, *(["--verify"] if verify or existing == "update" else [])]
    answer = place.restore(good.repository, words, hear)
    if existing == "update" and answer.wrong:
        # restic 0.19.1 spoils a file with hard links of which it found a part to be right, and tells it with --verify alone. Anew it is whole.
        place.remove([file for file in map(Path, answer.wrong) if _below(file, target)])
        answer = place.restore(good.repository, words, hear)
    seconds = time.monotonic() - began
    go_on = "free disk space, then run it again with --existing update: complete files are kept"
    if "no space left on device" in answer.words:
        raise LastcopyError(
            f"the disk of the target is full; the restore is not complete. {place.free_bytes(target)} bytes are free:\n{answer.words}",
            where=f"--target {escape_text(target)}",
            fix=go_on,
        )
    if not answer.ok:
        raise LastcopyError(
            f"the restore is not complete (restic exit code {answer.code}):\n{answer.words}",
            where=f"--target {escape_text(target)}",
            fix="repair what it names, then run it again with --existing update",
        )
    done = int(last.get("files_restored", 0)) + int(last.get("files_skipped", 0))
    if paths and done == 0:
        raise LastcopyError(
            f"snapshot {snapshot['id'][:8]} holds nothing at {', '.join(escape_text(path) for path in paths)}",
            where="--path",
            allowed="absolute paths as on the source",
            fix=f"its paths are {', '.join(escape_text(path) for path in snapshot.get('paths', []))}",
        )
    return Restored(
        snapshot=snapshot["id"],
        files=int(last.get("files_restored", 0)),
        size=int(last.get("bytes_restored", 0)),
        seconds=seconds,
    )
