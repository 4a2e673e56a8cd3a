"""A9: a backup that does not hold what was meant. No attacker, but a slip: it is refused, or told at that run, and never a success."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.throwaway import Throwaway
from ops.restore_test.shrinkage import PERCENT, Held, held, lost
from ops.status.last_run import STATUS, LastRun, last_run, parsed

UNIT = "lastcopy-backup.service"
LOOK, TOO_LONG = 72, 77  # run-backup's exit codes for a snapshot that was made and needs a person
# The source's own program, as it is installed, on the throwaway's repository: in mounts of its own, its configuration and state are others.
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
# Without the right to pass over modes: what root cannot read then represents what even root cannot.
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
        """Whether it failed, its record says why, and `ops status --hosts` is loud about it."""
        said = " ".join((*self.run.findings, self.run.message))
        return self.code not in (0, 3) and bool(self.run.alarm) and all(word in said for word in words)


def play(ground: Ground) -> Iterator[Finding]:
    yield from _the_unit(ground)
    if not ground.may(Level.THROWAWAY):
        yield not_played("paths of which nothing, or much less, is stored", Level.THROWAWAY.words)
        return
    made = ground.throwaway()
    made.host.run("sh", "-c", _READY, "sh", made.folder)
    yield from _slips(made)


def _the_unit(ground: Ground) -> Iterator[Finding]:
    """systemd takes the two codes for failures, and does not try again before somebody looked."""
    words = ("systemctl", "show", UNIT, "-p", "SuccessExitStatus", "-p", "RestartPreventExitStatus")
    shown = dict(re.findall(r"^(\w+)=(.*)$", ground.victim.run(*words).out, re.MULTILINE))
    fine, final = (shown.get(key, "").split() for key in ("SuccessExitStatus", "RestartPreventExitStatus"))
    yield judged(
        "a snapshot that is not what was meant: the unit fails, and waits for a person",
        not {str(LOOK), str(TOO_LONG)} & set(fine) and {str(LOOK), str(TOO_LONG)} <= set(final),
        f"a success: {fine}; not tried again: {final}",
    )
    record = last_run(ground.victim)
    yield control(f"{STATUS} is read over SSH", not record.not_read, record.not_read or record.result)


def _slips(made: Throwaway) -> Iterator[Finding]:
    tree, folder = f"{made.folder}/tree", f"{made.folder}/own"
    many = f"{folder}/many"
    whole = _run(made, tree, many)
    yield control(
        "a backup of all that was meant is a success", whole.code == 0 and not whole.run.alarm, whole.seen
    )
    made.host.shell(f"cd {many} && rm [123]*")
    less = _run(made, tree, many)
    yield judged(
        "most files of a path are gone", less.told(f"files of {many} were stored, 40 before"), less.seen
    )
    there = _snapshots(made)
    yield _the_trusted_place(there, whole, less)

    alone = [f"{folder}/{name}" for name in ("link", "gone", "empty")]
    refused = _run(made, *alone)
    words = ("is a symbolic link", "does not exist", "holds no file")
    yield judged("a link, a missing and an empty path, and nothing else", refused.told(*words), refused.seen)
    more = len(_snapshots(made)) - len(there)
    yield judged(
        "of these no snapshot is made, so the alarms for silence ring", more == 0, f"{more} new snapshots"
    )

    some = _run(made, tree, *alone, f"{folder}/left", f"{folder}/disk")
    yield judged("the same beside a good path", some.told(*words), some.seen)
    left = f"no file of {folder}/left was stored"
    yield judged("an exclude that leaves nothing of a path", some.told(left), some.seen)
    if made.host.has("/etc/fstab"):
        bare = f"nothing is mounted at {folder}/disk"
        yield judged("a mount point with nothing mounted", some.told(bare), some.seen)
    yield judged("the good path is stored all the same", *made.restored(some.snapshot))
    yield from _unreadable(made, tree)


def _unreadable(made: Throwaway, tree: str) -> Iterator[Finding]:
    """A file that cannot be read, as the record says for months."""
    made.host.shell(f"cp -a {tree} {tree}-2 && chown nobody {tree}-2/blob && chmod 600 {tree}-2/blob")
    since = r"""s/"partial_since": "[^"]*"/"partial_since": "2026-01-01T00:00:00Z"/"""
    made.host.run("sed", "-i", since, f"{made.folder}/own/state/status.json")
    ended = _run(made, f"{tree}-2", rights=_WITHOUT_RIGHTS)
    known = ended.code == TOO_LONG and ended.told("1 files or folders could not be read")
    yield judged("a file that cannot be read, week after week", known, ended.seen)


def _run(made: Throwaway, *paths: str, rights: str = "") -> Ended:
    """One backup of these paths and the canary by the source's own run-backup, and how it recorded it."""
    given = "\n".join([*paths, "/var/lib/lastcopy/canary"])
    done = made.host.run("sh", "-c", _RUN, "sh", made.folder, given, rights, seconds=200)
    code, _, text = done.out.partition("\n")
    made_one = re.search(r'"snapshot": "([0-9a-f]{64})"', text)
    return Ended(code=int(code), run=parsed(text), snapshot=made_one[1] if made_one else "")


def _snapshots(made: Throwaway) -> dict[str, Held]:
    """What restic itself noted of each snapshot."""
    listed = json.loads(made.restic("snapshots", "--json", "--no-lock", check=True).out)
    return {one["id"]: held(one, datetime.fromisoformat(one["time"]).astimezone(UTC)) for one in listed}


def _the_trusted_place(there: dict[str, Held], whole: Ended, less: Ended) -> Finding:
    """The restore drill judges by the snapshots alone, whatever the source says of them."""
    both = [there.get(ended.snapshot) for ended in (whole, less)]
    wrong = lost(both[1], both[0], PERCENT) if both[0] and both[1] else []
    seen = "; ".join(wrong) or f"NOTHING said of {both}"
    return judged("the restore drill sees it in the snapshots", bool(wrong), seen)
