"""A9: a backup that does not hold what was meant. No attacker, but a slip: it is refused, or told at that run, and never a success."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.drill.ground import Ground
from ops.drill.model import Finding, Level, control, judged, not_played
from ops.drill.throwaway import Throwaway
from ops.last_run import STATUS, LastRun, last_run, parsed
from ops.restore_drill.shrinkage import PERCENT, Held, held, lost

UNIT = "lastcopy-backup.service"
LOOK, TOO_LONG = 72, 77  # run-backup's exit codes for a snapshot that was made and needs a person
# The source's own program, as it is installed, on the throwaway's repository: in mounts of its own, its configuration and state are others.
_READY = r"""
set -eu; umask 077; mkdir "$1/own"; cd "$1/own"; mkdir etc state cache many empty left disk
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
# Without the right to pass over modes: what root cannot read so stands for what not even root can.
_RIGHTS = "-dac_override,-dac_read_search"
_WITHOUT_RIGHTS = f"setpriv --inh-caps={_RIGHTS} --bounding-set={_RIGHTS}"


@dataclass(frozen=True)
class Ended:
    """How one run ended: its exit code, and its record."""

    code: int
    run: LastRun

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
    made = ground.throwaway(fresh=True)
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
    snapshots = _snapshots(made)
    yield control(
        "a backup of all that was meant is a success", whole.code == 0 and not whole.run.alarm, whole.seen
    )

    made.host.shell(f"cd {many} && rm [123]*")
    less = _run(made, tree, many)
    yield judged(
        "most files of a path are gone", less.told(f"files of {many} were stored, 40 before"), less.seen
    )
    yield from _the_trusted_place(made, snapshots)

    alone = [f"{folder}/{name}" for name in ("link", "gone", "empty")]
    before = _snapshots(made)
    refused = _run(made, *alone)
    words = ("is a symbolic link", "does not exist", "holds no file")
    yield judged("a link, a missing and an empty path, and nothing else", refused.told(*words), refused.seen)
    yield judged(
        "it is refused, so that the storage hears nothing and its alarms ring", len(_snapshots(made)) == len(before), refused.seen,
    )  # fmt: skip

    some = _run(made, tree, *alone, f"{folder}/left", f"{folder}/disk")
    yield judged("the same beside a good path", some.told(*words), some.seen)
    yield judged(
        "an exclude that leaves nothing of a path",
        some.told(f"no file of {folder}/left was stored"),
        some.seen,
    )
    if made.host.has("/etc/fstab"):
        yield judged(
            "a mount point with nothing mounted", some.told(f"nothing is mounted at {folder}/disk"), some.seen
        )
    newest = max(_snapshots(made).items(), key=lambda pair: pair[1].at)[0]
    same, seen = made.restored(newest)
    yield judged("the good path is stored all the same", same, seen)
    yield from _unreadable(made, tree)


def _unreadable(made: Throwaway, tree: str) -> Iterator[Finding]:
    """Files that cannot be read, on this run and, as the record says, for months."""
    made.host.shell(f"cp -a {tree} {tree}-2 && chown nobody {tree}-2/blob && chmod 600 {tree}-2/blob")
    once = _run(made, f"{tree}-2", rights=_WITHOUT_RIGHTS)
    yield judged(
        "a file that cannot be read: at first partial",
        once.code == 3 and once.run.result == "partial",
        once.seen,
    )
    since = r"""s/"partial_since": "[^"]*"/"partial_since": "2026-01-01T00:00:00Z"/"""
    made.host.run("sed", "-i", since, f"{made.folder}/own/state/status.json")
    long = _run(made, f"{tree}-2", rights=_WITHOUT_RIGHTS)
    yield judged(
        "week after week: somebody must look",
        long.code == TOO_LONG and long.told("could not be read"),
        long.seen,
    )


def _run(made: Throwaway, *paths: str, rights: str = "") -> Ended:
    """One backup of these paths and the canary by the source's own run-backup, and how it recorded it."""
    given = "\n".join([*paths, "/var/lib/lastcopy/canary"])
    done = made.host.run("sh", "-c", _RUN, "sh", made.folder, given, rights, seconds=200)
    code, _, text = done.out.partition("\n")
    return Ended(int(code), parsed(text))


def _snapshots(made: Throwaway) -> dict[str, Held]:
    """What restic itself noted of each snapshot."""
    listed = json.loads(made.restic("snapshots", "--json", "--no-lock", check=True).out)
    return {one["id"]: held(one, datetime.fromisoformat(one["time"]).astimezone(UTC)) for one in listed}


def _the_trusted_place(made: Throwaway, before: dict[str, Held]) -> Iterator[Finding]:
    """The restore drill judges by the snapshots alone, whatever the source says of them."""
    now = _snapshots(made)
    new = [one for name, one in now.items() if name not in before]
    whole = max(before.values(), key=lambda one: one.at)
    wrong = lost(new[0], whole, PERCENT) if len(new) == 1 else []
    yield judged(
        "the restore drill sees it in the snapshots",
        bool(wrong),
        "; ".join(wrong) or f"{len(new)} new snapshots; NOTHING said",
    )
