"""Drill: one source's newest snapshot comes back, holds the canary as it must be, and is what restic says it is; or every reason why not.

What is newest, and how old it is, the storage's clock says: when the snapshot's name first arrived. Nothing is written to the repository.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ops.errors import LastcopyError, escape_text
from ops.history.versions import History, area, iso
from ops.private_folder import remove_folder
from ops.recover.recovery import Recovery, open_recovery
from ops.recover.restore import escape_pattern
from ops.restic.repository import Repository, ResticResult, Tools
from ops.restore_test import canary
from ops.restore_test.sample import Sample
from ops.restore_test.scratch import count_files, find_plain_file
from ops.restore_test.shrinkage import PERCENT, choose_reference, find_losses, read_contents
from ops.storage.access import Access

SPACE_FOR_CACHE = 64 << 20  # for restic's cache of indexes and trees
_FULL = 1 << 20  # with less, restic may not even have been able to report it
_CLOCK = timedelta(minutes=5)
_NO_REPOSITORY, _WRONG_PASSWORD = 10, 12  # restic's exit codes
_LOOK = "look at it with `lastcopy recover look`"
_ENCRYPTED = (
    "cut the source off (docs/runbook.md) before its good snapshots get old, look for what encrypts there,"
    " then restore a snapshot of before: `lastcopy recover restore --snapshot`"
)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is restored and read, and how old the newest snapshot may be; None: as old as the source's schedule makes it."""

    everything: bool
    sample_bytes: int
    read_subset: str
    newest: timedelta | None
    seed: int


@dataclass(kw_only=True)
class RestoreTestResult:
    """What one source's drill found; ``tried``: a snapshot was restored at all. Without problems it passed."""

    source: str
    problems: list[LastcopyError] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    tried: bool = False
    repository: str | None = None
    snapshot: str | None = None
    stored: datetime | None = None
    canaries: int = 0
    files: int = 0
    size: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if not self.problems:
            return "passed"
        return "failed" if self.tried else "not tried"

    def wrong(self, what: str, fix: str) -> None:
        self.problems.append(LastcopyError(what, fix=fix))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - began


def run_restore_test(
    access: Access, tools: Tools, extent: Extent, scratch: Path, say: Callable[[str], None]
) -> RestoreTestResult:
    """Everything for one source; what goes wrong is in the result. Whatever was restored is gone when this returns."""
    result = RestoreTestResult(source=access.record.name, repository=access.record.repository_id)
    target = scratch / "restored"
    with result.timed("whole"):
        try:
            with open_recovery(access, tools, say, parent=scratch) as found:
                _try_source(result, found, extent, target)
        except LastcopyError as error:
            result.problems.append(error)
        except Exception as error:  # a fault of ours must not silence the other sources
            result.wrong(
                f"the drill itself failed: {type(error).__name__}: {escape_text(error)}",
                "nothing is proved for this source; report it with the words above",
            )
        finally:
            remove_folder(target)
    return result


def _try_source(result: RestoreTestResult, found: Recovery, extent: Extent, target: Path) -> None:
    repository = found.open(found.history.last)
    result.repository = _identity(result, found, repository)
    expected = timedelta(hours=found.access.record.silent_hours) if extent.newest is None else extent.newest
    _age(result, found.history, expected)
    sign = found.proposal.sign
    if sign is not None:
        result.notices.append(
            f"since {iso(sign.first)} {sign.count} objects were {sign.kind.value}, which no backup does: {_LOOK}"
        )
    with result.timed("list"):
        result.snapshot, sample = _newest(result, found.history, repository, extent)
        _shrinkage(result, found, repository)
    chosen = {} if extent.everything else sample.chosen()
    if not sample.files:
        result.wrong(
            "the newest snapshot holds no file beside the canary: a backup of nothing",
            "compare the source's paths in the stack file with the host",
        )
    elif not extent.everything and not chosen:
        result.notices.append("no file of the snapshot fits into the sample: raise --sample-mib, or --all")
    _require_space(target.parent, sample.bytes if extent.everything else sum(chosen.values()))
    with result.timed("restore"):
        _restore(result, repository, target, extent, chosen)
    result.tried = True
    _canary(result, target)
    if extent.everything:
        _compare_all(result, target, sample)
    else:
        _compare(result, target, chosen)
    with result.timed("check"):
        checked = repository.ask("check", "--with-cache", f"--read-data-subset={extent.read_subset}")
    if not checked.ok:
        result.wrong(
            f"restic's check, reading {extent.read_subset} of the data, finds damage:\n{checked.words}",
            f"{_LOOK}; a rebuild brings back what was overwritten. If nobody touched it, the storage loses data",
        )


def _identity(result: RestoreTestResult, found: Recovery, repository: Repository) -> str:
    """The repository opens, and is the one that the stack or the kit knows."""
    answer = repository.ask("cat", "config")
    if not answer.ok:
        fixes = {
            _NO_REPOSITORY: f"it may be hidden, not lost: {_LOOK}",
            _WRONG_PASSWORD: "the password is not this repository's: write the kit again, or put back the stack's password",
        }
        raise LastcopyError(
            f"the repository cannot be opened:\n{answer.words}",
            where=f"{found.access.where.bucket}/{found.access.path}",
            fix=fixes.get(answer.code, _LOOK),
        )
    config = json.loads(answer.out)
    known, told = found.access.record.repository_id, str(config.get("id", ""))
    if known is not None and known != told:
        result.wrong(
            f"another repository stands at the source's place: {escape_text(told[:8])}, not {known[:8]}",
            f"the place was exchanged: {_LOOK}",
        )
    if known is None:
        result.notices.append(
            f"the repository's id is not recorded; its own word was taken: {escape_text(told[:8])}"
        )
    return known or told


def _arrivals(history: History) -> dict[str, datetime]:
    """When each snapshot that stands first arrived. A later version of one name is no news: its content must be the same."""
    live = history.live()
    return {
        name.removeprefix("snapshots/"): history.names[name][0].at
        for name in live
        if area(name) == "snapshots"
    }


def _age(result: RestoreTestResult, history: History, newest: timedelta) -> None:
    now, arrivals = datetime.now(UTC), _arrivals(history)
    result.stored = max(arrivals.values(), default=None)
    if result.stored is None:
        raise LastcopyError(
            "no snapshot stands", fix=f"was there a first backup? Else it may be hidden: {_LOOK}"
        )
    if result.stored > now + _CLOCK:
        result.wrong(
            f"the storage says that the newest snapshot came at {iso(result.stored)}, which is in the future here",
            "set this machine's clock; ages were not judged",
        )
    elif now - result.stored > newest:
        result.wrong(
            f"the newest snapshot reached the storage {_hours(now - result.stored)} ago, at {iso(result.stored)};"
            f" at most {_hours(newest)} were expected",
            "`systemctl status lastcopy-backup` on the source; what its own status says may be a lie",
        )


def _newest(
    result: RestoreTestResult, history: History, repository: Repository, extent: Extent
) -> tuple[str, Sample]:
    """The newest snapshot that restic can read, and its files; that a newer one cannot be read is a problem of its own."""
    arrivals = _arrivals(history)
    order = sorted(arrivals, key=lambda name: arrivals[name])

    def listed(name: str) -> tuple[ResticResult, Sample]:
        sample = Sample(extent.seed, extent.sample_bytes)
        return repository.follow("ls", name, told=sample.offer), sample

    name = order[-1]
    answer, sample = listed(name)
    if not answer.ok:
        readable = {one["id"] for one in repository.snapshots()}
        bogus = [name for name in order if name not in readable]
        if name in bogus:
            result.wrong(
                f"the newest of {len(bogus)} snapshots that cannot be read is the newest of all, {name[:8]}: damaged, or never restic's",
                f"{_LOOK}, and cut the source off if it wrote them",
            )
            name = next((name for name in reversed(order) if name in readable), "")
            if not name:
                raise LastcopyError("no snapshot can be read", fix=_LOOK)
            answer, sample = listed(name)
    if not answer.ok:
        raise LastcopyError(f"the files of snapshot {name[:8]} cannot be listed:\n{answer.words}", fix=_LOOK)
    return name, sample


def _shrinkage(result: RestoreTestResult, found: Recovery, repository: Repository) -> None:
    """Told by the trusted place itself: the source's own word on it, its status file, may be a lie or go unread."""
    arrivals = _arrivals(found.history)
    readable = {one["id"]: one for one in repository.snapshots()}
    known = {name: read_contents(one, arrivals[name]) for name, one in readable.items() if name in arrivals}
    newest = known.get(result.snapshot or "")
    before = choose_reference(newest, list(known.values())) if newest else None
    percent = found.access.record.shrink_percent
    if newest is None or before is None:
        return
    wrong = find_losses(newest, before, PERCENT if percent is None else percent)
    if wrong:
        result.wrong(
            f"much is gone since the snapshot of {iso(before.at)[:16]}: {'; '.join(escape_text(one) for one in wrong)}",
            "look at the source: systemctl status lastcopy-backup, its mounts and its paths. If that is right, a week"
            " later it is not said again",
        )


def _require_space(scratch: Path, size: int) -> None:
    free, needed = shutil.disk_usage(scratch).free, size + SPACE_FOR_CACHE
    if free < needed:
        raise LastcopyError(
            f"too little disk space for the restore: {needed >> 20} MiB are needed, {free >> 20} MiB are free",
            where=f"--scratch {escape_text(scratch.parent)}",
            fix="free disk space, give another --scratch, or a smaller --sample-mib",
        )


def _restore(
    result: RestoreTestResult, repository: Repository, target: Path, extent: Extent, chosen: dict[str, int]
) -> None:
    """restic itself reads every restored file again and compares it with the snapshot (--verify)."""
    wanted = [] if extent.everything else [canary.FOLDER, *chosen]
    includes = [word for path in wanted for word in ("--include", escape_pattern(path))]
    target.mkdir(mode=0o700)
    last: dict[str, Any] = {}

    def hear(message: dict[str, Any]) -> None:
        if message.get("message_type") == "summary":
            last.update(message)

    # --sparse, as every restore of ours: a zero that was never written must not fill the scratch directory.
    words = ("restore", "--sparse", result.snapshot or "", "--target", str(target), "--verify", *includes)
    answer = repository.follow(*words, told=hear)
    result.size = int(last.get("bytes_restored", 0))
    if answer.ok:
        return
    if "no space left on device" in answer.words or shutil.disk_usage(target).free < _FULL:
        raise LastcopyError(
            "the disk got full, so nothing was proved" + (f":\n{answer.words}" if answer.words else ""),
            where=f"--scratch {escape_text(target.parent.parent)}",
            fix="free disk space, give another --scratch, or a smaller --sample-mib",
        )
    result.wrong(
        f"the restore fails (restic exit code {answer.code}):\n{answer.words}",
        f"{_LOOK}; a rebuild brings back what was hidden or overwritten",
    )


def _canary(result: RestoreTestResult, target: Path) -> None:
    wanted = canary.expected(result.repository or "")

    def content(name: str) -> bytes | None:
        path = f"{canary.FOLDER}/{name}"
        info = find_plain_file(target, path)
        if info is None:
            return None
        if info.st_size != len(wanted[name]):
            return b""
        return (target / path.lstrip("/")).read_bytes()

    missing, changed = canary.compare(wanted, content)
    result.canaries = len(wanted) - len(missing) - len(changed)
    if changed:
        result.wrong(
            f"{len(changed)} of {len(wanted)} canary files are not what they were ({', '.join(changed)}):"
            " most likely the source's files are being encrypted",
            _ENCRYPTED,
        )
    if missing:
        result.wrong(
            f"{len(missing)} of {len(wanted)} canary files are missing from the newest snapshot ({', '.join(missing)}):"
            " somebody deletes files on the source, or they were never planted there",
            "look at the source; if it is sound: `pulumi up` (or its enrolment script) plants them, then back up",
        )


def _compare(result: RestoreTestResult, target: Path, chosen: dict[str, int]) -> None:
    """Content was compared by restic; that each file is there, and whole, is seen here."""
    wrong = []
    for path, size in chosen.items():
        info = find_plain_file(target, path)
        if info is None or info.st_size != size:
            wrong.append(path)
    result.files = len(chosen) - len(wrong)
    if wrong:
        result.wrong(
            f"{len(wrong)} of {len(chosen)} sampled files did not come back as the snapshot says,"
            f" for example {escape_text(wrong[0])}",
            _LOOK,
        )


def _compare_all(result: RestoreTestResult, target: Path, sample: Sample) -> None:
    files, size = count_files(target)
    kept = count_files(target / canary.FOLDER.lstrip("/"))
    result.files, size = files - kept[0], size - kept[1]
    if (result.files, size) != (sample.files, sample.bytes):
        result.wrong(
            f"{result.files} files of {size} bytes came back; the snapshot has {sample.files} of {sample.bytes}",
            _LOOK,
        )


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} hours"
