"""The restore test of one source: its newest snapshot can be restored, contains the intact canary and matches restic's list of it.

The storage's clock decides which snapshot is newest and how old it is: when its name first arrived. Nothing is written to the repository.
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
_FULL = 1 << 20  # with less free space, restic may not even have been able to report that the disk is full
_CLOCK = timedelta(minutes=5)
_NO_REPOSITORY, _WRONG_PASSWORD = 10, 12  # restic's exit codes
_LOOK = "examine it with `lastcopy recover look`"
_ENCRYPTED = (
    "cut the source off (docs/runbook.md) before its good snapshots get old, find out what encrypts files there,"
    " then restore an earlier snapshot: `lastcopy recover restore --snapshot`"
)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is restored and read, and how old the newest snapshot may be. ``newest`` None: as old as the source's schedule allows."""

    everything: bool
    sample_bytes: int
    read_subset: str
    newest: timedelta | None
    seed: int


@dataclass(kw_only=True)
class RestoreTestResult:
    """The result for one source: passed if there are no problems. ``tried``: a snapshot was restored."""

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
    """Test one source. All problems are in the result. Whatever was restored is removed before this returns.

    ``scratch``: a private folder. ``say``: gets messages for people.
    """
    result = RestoreTestResult(source=access.record.name, repository=access.record.repository_id)
    target = scratch / "restored"
    with result.timed("whole"):
        try:
            with open_recovery(access, tools, say, parent=scratch) as found:
                _try_source(result, found, extent, target)
        except LastcopyError as error:
            result.problems.append(error)
        except Exception as error:  # an error in this program must not stop the tests of other sources
            result.wrong(
                f"the restore test itself failed: {type(error).__name__}: {escape_text(error)}",
                "nothing is proved for this source; report this error",
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
            "the newest snapshot contains no files except the canary: a backup of nothing",
            "compare the source's paths in the stack file with the host",
        )
    elif not extent.everything and not chosen:
        result.notices.append(
            "no file of the snapshot fits into the sample: increase --sample-mib, or use --all"
        )
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
            f"restic's check, reading {extent.read_subset} of the data, found damage:\n{checked.words}",
            f"{_LOOK}; a rebuild brings back what was overwritten. If nobody changed it, the storage loses data",
        )


def _identity(result: RestoreTestResult, found: Recovery, repository: Repository) -> str:
    """Require that the repository opens. Returns its id; an id other than that of the stack or kit is a problem."""
    answer = repository.ask("cat", "config")
    if not answer.ok:
        fixes = {
            _NO_REPOSITORY: f"it may be hidden, not lost: {_LOOK}",
            _WRONG_PASSWORD: "the password does not belong to this repository: write the kit again, or restore the stack's password",
        }
        raise LastcopyError(
            f"the repository cannot be opened:\n{answer.words}",
            where=f"{found.access.where.bucket}/{found.access.path}",
            fix=fixes.get(answer.code, _LOOK),
        )
    config = json.loads(answer.out)
    known, actual = found.access.record.repository_id, str(config.get("id", ""))
    if known is not None and known != actual:
        result.wrong(
            f"another repository is in the place of the source's: {escape_text(actual[:8])}, not {known[:8]}",
            f"the repository was exchanged: {_LOOK}",
        )
    if known is None:
        result.notices.append(
            f"the repository's id is not recorded, so its own claim was used: {escape_text(actual[:8])}"
        )
    return known or actual


def _arrivals(history: History) -> dict[str, datetime]:
    """When each live snapshot first arrived. Later versions of the same name do not count: their content must be the same."""
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
            "there is no snapshot", fix=f"was there a first backup? If so, it may be hidden: {_LOOK}"
        )
    if result.stored > now + _CLOCK:
        result.wrong(
            f"the storage says that the newest snapshot arrived at {iso(result.stored)}, which is in the future by this machine's clock",
            "set this machine's clock; ages were not checked",
        )
    elif now - result.stored > newest:
        result.wrong(
            f"the newest snapshot reached the storage {_hours(now - result.stored)} ago, at {iso(result.stored)};"
            f" at most {_hours(newest)} are allowed",
            "`systemctl status lastcopy-backup` on the source; its own status may be forged",
        )


def _newest(
    result: RestoreTestResult, history: History, repository: Repository, extent: Extent
) -> tuple[str, Sample]:
    """The newest snapshot that restic can read, and its files. An unreadable newer snapshot is reported as a problem."""
    arrivals = _arrivals(history)
    order = sorted(arrivals, key=lambda name: arrivals[name])

    def listed(name: str) -> tuple[ResticResult, Sample]:
        sample = Sample(extent.seed, extent.sample_bytes)
        return repository.follow("ls", name, report=sample.offer), sample

    name = order[-1]
    answer, sample = listed(name)
    if not answer.ok:
        readable = {one["id"] for one in repository.snapshots()}
        bogus = [name for name in order if name not in readable]
        if name in bogus:
            result.wrong(
                f"{len(bogus)} snapshots cannot be read, among them the newest, {name[:8]}: damaged, or not written by restic",
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
    """Measured at the trusted place itself: the source's status file may be forged, or nobody may read it."""
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
            f"the newest snapshot is much smaller than that of {iso(before.at)[:16]}: {'; '.join(escape_text(one) for one in wrong)}",
            "look at the source: systemctl status lastcopy-backup, its mounts and its paths. If the change is right, it is"
            " reported for a week and then no more",
        )


def _require_space(scratch: Path, size: int) -> None:
    free, needed = shutil.disk_usage(scratch).free, size + SPACE_FOR_CACHE
    if free < needed:
        raise LastcopyError(
            f"not enough disk space for the restore: {needed >> 20} MiB are needed, {free >> 20} MiB are free",
            where=f"--scratch {escape_text(scratch.parent)}",
            fix="free disk space, give another --scratch, or a smaller --sample-mib",
        )


def _restore(
    result: RestoreTestResult, repository: Repository, target: Path, extent: Extent, chosen: dict[str, int]
) -> None:
    """Restore the sample or everything. With --verify restic reads every restored file again and compares it with the snapshot."""
    wanted = [] if extent.everything else [canary.FOLDER, *chosen]
    includes = [word for path in wanted for word in ("--include", escape_pattern(path))]
    target.mkdir(mode=0o700)
    last: dict[str, Any] = {}

    def hear(message: dict[str, Any]) -> None:
        if message.get("message_type") == "summary":
            last.update(message)

    # --sparse, as in every restore of ours: holes must not fill the scratch directory.
    words = ("restore", "--sparse", result.snapshot or "", "--target", str(target), "--verify", *includes)
    answer = repository.follow(*words, report=hear)
    result.size = int(last.get("bytes_restored", 0))
    if answer.ok:
        return
    if "no space left on device" in answer.words or shutil.disk_usage(target).free < _FULL:
        raise LastcopyError(
            "the disk is full, so nothing was proved" + (f":\n{answer.words}" if answer.words else ""),
            where=f"--scratch {escape_text(target.parent.parent)}",
            fix="free disk space, give another --scratch, or a smaller --sample-mib",
        )
    result.wrong(
        f"the restore failed (restic exit code {answer.code}):\n{answer.words}",
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
            f"{len(changed)} of {len(wanted)} canary files have changed ({', '.join(changed)}):"
            " most likely the source's files are being encrypted",
            _ENCRYPTED,
        )
    if missing:
        result.wrong(
            f"{len(missing)} of {len(wanted)} canary files are missing from the newest snapshot ({', '.join(missing)}):"
            " somebody deletes files on the source, or they were never created there",
            "look at the source; if it is sound, `pulumi up` (or its enrolment script) creates them, then run a backup",
        )


def _compare(result: RestoreTestResult, target: Path, chosen: dict[str, int]) -> None:
    """Check that each sampled file exists with its size. restic itself has compared the content."""
    wrong = []
    for path, size in chosen.items():
        info = find_plain_file(target, path)
        if info is None or info.st_size != size:
            wrong.append(path)
    result.files = len(chosen) - len(wrong)
    if wrong:
        result.wrong(
            f"{len(wrong)} of {len(chosen)} sampled files were not restored as the snapshot lists them,"
            f" for example {escape_text(wrong[0])}",
            _LOOK,
        )


def _compare_all(result: RestoreTestResult, target: Path, sample: Sample) -> None:
    files, size = count_files(target)
    kept = count_files(target / canary.FOLDER.lstrip("/"))
    result.files, size = files - kept[0], size - kept[1]
    if (result.files, size) != (sample.files, sample.bytes):
        result.wrong(
            f"{result.files} files of {size} bytes were restored; the snapshot has {sample.files} of {sample.bytes}",
            _LOOK,
        )


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} hours"
