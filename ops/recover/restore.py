"""Restores from a repository as it was, to a directory. Existing files are overwritten only if that was requested."""

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

# refuse: the target must be empty; keep: existing files are kept; update: files that differ from the snapshot are replaced
Existing = Literal["refuse", "keep", "update"]
# "always" compares contents. "if-changed" compares size and time, which an encrypted file may have kept and a failed restore has already set.
_OVERWRITE = {"refuse": "never", "keep": "never", "update": "always"}
_ID = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was restored, and how long it took from the first byte on."""

    snapshot: str
    files: int
    size: int
    seconds: float


TargetState = Literal["empty", "filled", "other"]


class RestoreTarget(Protocol):
    """A place to which files are restored."""

    def state(self, target: Path) -> TargetState:
        """Whether the target is empty or missing, contains something, or is not a directory."""

    def create(self, target: Path) -> None:
        """Make the directory; if it is new, only its owner may enter it."""

    def free_bytes(self, target: Path) -> int:
        """Free disk space in bytes."""

    def remove(self, files: Sequence[Path]) -> None:
        """Remove these files; a missing file is not an error."""

    def restore(
        self, repository: Repository, words: Sequence[str], report: Callable[[dict[str, Any]], None]
    ) -> ResticResult:
        """Run `restic restore` with these arguments."""


class LocalTarget:
    """A directory on this machine."""

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
        self, repository: Repository, words: Sequence[str], report: Callable[[dict[str, Any]], None]
    ) -> ResticResult:
        return repository.follow(*words, report=report)


def check_target(target: Path, existing: Existing, place: RestoreTarget) -> None:
    """Refuse an unsuitable target before anything is read, so that a mistake does not cost an hour. Raises LastcopyError."""
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
            fix="choose another; or --existing keep (existing files stay), or --existing update (files that differ are replaced; it can continue)",
        )


def choose_snapshot(good: OpenedMoment, wanted: str | None) -> dict[str, Any]:
    """The snapshot with this id, or the one that the storage got last, whatever date it claims. Raises LastcopyError."""
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
            allowed=f"8 to 64 hexadecimal digits of one id; the newest are {some}",
        )
    return found[0]


def escape_pattern(path: str) -> str:
    """A path as an --include pattern that matches only itself. Raises LastcopyError if it is not absolute."""
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
    report: Callable[[dict[str, Any]], None] = lambda _: None,
    place: RestoreTarget | None = None,
) -> Restored:
    """Restore the snapshot, or some of its paths, below ``target``. After an error, a new run with ``update`` continues."""
    place = place or LocalTarget()
    check_target(target, existing, place)
    includes = [word for path in paths for word in ("--include", escape_pattern(path))]
    place.create(target)
    last: dict[str, Any] = {}

    def hear(message: dict[str, Any]) -> None:
        nonlocal last
        if message.get("message_type") == "summary":
            last = message
        report(message)

    began = time.monotonic()
    # --sparse: restore holes as holes; otherwise a sparse disk image might not fit on the disk that it came from.
    words = ["restore", "--sparse", snapshot["id"], "--target", str(target)]
    words += ["--overwrite", _OVERWRITE[existing]]
    words += [*includes, *(["--verify"] if verify or existing == "update" else [])]
    answer = place.restore(good.repository, words, hear)
    if existing == "update" and answer.wrong:
        # restic 0.19.1 damages a file with hard links if it found a part of it unchanged, and reports this only with --verify. A new copy is right.
        place.remove([file for file in map(Path, answer.wrong) if _below(file, target)])
        answer = place.restore(good.repository, words, hear)
    seconds = time.monotonic() - began
    _must_be_complete(answer, place, target)
    done = int(last.get("files_restored", 0)) + int(last.get("files_skipped", 0))
    if paths and done == 0:
        raise LastcopyError(
            f"snapshot {snapshot['id'][:8]} contains nothing at {', '.join(escape_text(path) for path in paths)}",
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


def _must_be_complete(answer: ResticResult, place: RestoreTarget, target: Path) -> None:
    """Raises what restic reported, with what to do about it."""
    go_on = "free disk space, then run it again with --existing update: complete files are kept"
    if "no space left on device" in answer.words:
        raise LastcopyError(
            f"the disk of the target is full; the restore is incomplete. {place.free_bytes(target)} bytes are free:\n{answer.words}",
            where=f"--target {escape_text(target)}",
            fix=go_on,
        )
    if not answer.ok:
        raise LastcopyError(
            f"the restore is incomplete (restic exit code {answer.code}):\n{answer.words}",
            where=f"--target {escape_text(target)}",
            fix="fix what it reports, then run it again with --existing update",
        )
