"""A9: a backup that does not contain what was meant. A mistake, not an attack: it is refused or reported at that run, never a success."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.scratch_repository import ScratchRepository
from ops.restore_test.shrinkage import PERCENT, SnapshotContents, find_losses, read_contents
from ops.status.last_run import STATUS, LastRun, parse_last_run, read_last_run

UNIT = "lastcopy-backup.service"
LOOK, TOO_LONG = 72, 77  # run-backup's exit codes for a snapshot that was made and that somebody must look at
# Prepares a configuration and a state for the source's own program, so that it backs up to the scratch repository in mounts of its own.
_READY = r"""
set -eu; umask 077; rm -rf "$1/own" "$1/tree-2"; mkdir "$1/own"; cd "$1/own"; mkdir etc state cache many empty left disk
cp /etc/lastcopy/restic.conf /etc/lastcopy/known_hosts etc/
grep -Ev '^(pre_hook|post_hook|may_be_empty|one_file_system|exclude_|shrink_percent|partial_days|rate)' /etc/lastcopy/backup.conf >etc/backup.conf
printf 'shrink_percent=50\npartial_days=7\nrate=0 1440 0 0\n' >>etc/backup.conf
cp ../ssh_config ../password etc/; cp ../key etc/id_ed25519; printf '*.left-out\n' >etc/excludes
cp -a /var/lib/lastcopy/canary state/
for number in $(seq 40); do echo $number >many/$number; done
ln -s ../tree link; echo x >left/x.left-out; echo "tmpfs $1/own/disk tmpfs noauto 0 0" >fstab
"""
_RUN = r"""
cd "$1/own"; printf '%s\n' "$2" >etc/paths; : >state/outcome
[ -e /etc/fstab ] && fstab=yes || fstab=
unshare --mount sh -c '
  mount --bind etc /etc/lastcopy && mount --bind state /var/lib/lastcopy && mount --bind cache /var/cache/lastcopy || exit 99
  [ -z "$0" ] || mount --bind fstab /etc/fstab || exit 99
  program=/usr/local/lib/lastcopy/run-backup
  code=0; $1 timeout 150 $program backup >/dev/null 2>&1 || code=$?
  SERVICE_RESULT=exit-code EXIT_STATUS=$code $program finish >/dev/null 2>&1
  echo $code; cat /var/lib/lastcopy/status.json
' "$fstab" "$3" </dev/null
"""
# Without the capabilities that let root ignore file modes: a file that root cannot read takes the place of one on a broken disk.
_RIGHTS = "-dac_override,-dac_read_search"
_WITHOUT_RIGHTS = f"setpriv --inh-caps={_RIGHTS} --bounding-set={_RIGHTS}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one run ended: its exit code, its record, and the snapshot that it made, if any."""

    code: int
    run: LastRun
    snapshot: str

    @property
    def seen(self) -> str:
        return f"exit code {self.code}, {self.run.result}: {'; '.join(self.run.findings) or self.run.message}"

    def told(self, *words: str) -> bool:
        """Whether it failed, its record contains all the words, and `lastcopy status --hosts` reports it."""
        said = " ".join((*self.run.findings, self.run.message))
        return self.code not in (0, 3) and bool(self.run.alarm) and all(word in said for word in words)


def play(drill: Drill) -> Iterator[RowFinding]:
    yield from _the_unit(drill)
    if not drill.may(Level.SCRATCH):
        yield not_played("paths of which nothing, or much less, is stored", Level.SCRATCH.words)
        return
    scratch = drill.scratch_repository()
    scratch.host.run("sh", "-c", _READY, "sh", scratch.folder)
    yield from _slips(scratch)


def _the_unit(drill: Drill) -> Iterator[RowFinding]:
    """systemd must treat the two exit codes as failures, and must not try again before somebody looked."""
    words = ("systemctl", "show", UNIT, "-p", "SuccessExitStatus", "-p", "RestartPreventExitStatus")
    shown = dict(re.findall(r"^(\w+)=(.*)$", drill.victim.run(*words).out, re.MULTILINE))
    fine, final = (shown.get(key, "").split() for key in ("SuccessExitStatus", "RestartPreventExitStatus"))
    yield judged(
        "a snapshot that is not what was meant: the unit fails, and is not retried",
        not {str(LOOK), str(TOO_LONG)} & set(fine) and {str(LOOK), str(TOO_LONG)} <= set(final),
        f"a success: {fine}; not tried again: {final}",
    )
    record = read_last_run(drill.victim)
    yield control(f"{STATUS} is read over SSH", not record.not_read, record.not_read or record.result)


def _slips(scratch: ScratchRepository) -> Iterator[RowFinding]:
    tree, folder = f"{scratch.folder}/tree", f"{scratch.folder}/own"
    many = f"{folder}/many"
    whole = _run(scratch, tree, many)
    yield control(
        "a backup of everything that was meant is a success",
        whole.code == 0 and not whole.run.alarm,
        whole.seen,
    )
    scratch.host.shell(f"cd {many} && rm [123]*")
    less = _run(scratch, tree, many)
    yield judged(
        "most files of a path are gone", less.told(f"files of {many} were stored, 40 before"), less.seen
    )
    there = _snapshots(scratch)
    yield _the_trusted_place(there, whole, less)

    alone = [f"{folder}/{name}" for name in ("link", "gone", "empty")]
    refused = _run(scratch, *alone)
    words = ("is a symbolic link", "does not exist", "holds no file")
    yield judged("a link, a missing and an empty path, and nothing else", refused.told(*words), refused.seen)
    more = len(_snapshots(scratch)) - len(there)
    yield judged(
        "no snapshot is made of these, so the alarm for silence will follow",
        more == 0,
        f"{more} new snapshots",
    )

    some = _run(scratch, tree, *alone, f"{folder}/left", f"{folder}/disk")
    yield judged("the same beside a good path", some.told(*words), some.seen)
    left = f"no file of {folder}/left was stored"
    yield judged("an exclude that leaves nothing of a path", some.told(left), some.seen)
    if scratch.host.has("/etc/fstab"):
        bare = f"nothing is mounted at {folder}/disk"
        yield judged("a mount point with nothing mounted", some.told(bare), some.seen)
    yield judged("the good path is stored nevertheless", *scratch.try_restore(some.snapshot))
    yield from _unreadable(scratch, tree)


def _unreadable(scratch: ScratchRepository, tree: str) -> Iterator[RowFinding]:
    """A file that cannot be read, and according to the record could not for months."""
    scratch.host.shell(f"cp -a {tree} {tree}-2 && chown nobody {tree}-2/blob && chmod 600 {tree}-2/blob")
    since = r"""s/"partial_since": "[^"]*"/"partial_since": "2026-01-01T00:00:00Z"/"""
    scratch.host.run("sed", "-i", since, f"{scratch.folder}/own/state/status.json")
    ended = _run(scratch, f"{tree}-2", rights=_WITHOUT_RIGHTS)
    known = ended.code == TOO_LONG and ended.told("1 files or folders could not be read")
    yield judged("a file that cannot be read, week after week", known, ended.seen)


def _run(scratch: ScratchRepository, *paths: str, rights: str = "") -> Ended:
    """Back up some paths and the canary by the source's own run-backup. Returns how it ended and what it recorded."""
    given = "\n".join([*paths, "/var/lib/lastcopy/canary"])
    done = scratch.host.run("sh", "-c", _RUN, "sh", scratch.folder, given, rights, seconds=200)
    code, _, text = done.out.partition("\n")
    made_one = re.search(r'"snapshot": "([0-9a-f]{64})"', text)
    return Ended(code=int(code), run=parse_last_run(text), snapshot=made_one[1] if made_one else "")


def _snapshots(scratch: ScratchRepository) -> dict[str, SnapshotContents]:
    """What restic itself recorded of each snapshot."""
    listed = json.loads(scratch.restic("snapshots", "--json", "--no-lock", check=True).out)
    return {
        one["id"]: read_contents(one, datetime.fromisoformat(one["time"]).astimezone(UTC)) for one in listed
    }


def _the_trusted_place(there: dict[str, SnapshotContents], whole: Ended, less: Ended) -> RowFinding:
    """The restore test compares the snapshots themselves, whatever the source says about them."""
    both = [there.get(ended.snapshot) for ended in (whole, less)]
    wrong = find_losses(both[1], both[0], PERCENT) if both[0] and both[1] else []
    seen = "; ".join(wrong) or f"no finding about {both}"
    return judged("the restore test finds it in the snapshots", bool(wrong), seen)
