"""Interrupts work on a scratch repository: backups and restores on the source, the entry's step on the relay."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from attack_drill.errors import DrillError
from attack_drill.scratch_repository import ScratchRepository
from ops.hosts.connection import SshHost

# 12 MiB of random data at 1.5 MiB/s: slow enough to be interrupted in the middle.
BIG = "head -c 12582912 /dev/urandom >big"
SLOW = ("--limit-upload", "1500", "--pack-size", "4", "--no-cache")
# It only signals processes of the scratch repository: those whose command line names its folder.
_CUT = r"""
cd "$1"; what=$2; line=$(cat)
pids() { for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -c "$1.*$folder")" = 0 ] || echo "${p#/proc/}"; done; }
folder=$1
sh -c "$line" >cut.out 2>&1 & work=$!
i=0; while [ $i -lt 100 ] && [ -z "$(pids '^[^ ]*ssh -F')" ]; do i=$((i + 1)); sleep 0.1; done
sleep "$3"
kill -0 $work 2>/dev/null || { cat cut.out; echo "it ended before it could be interrupted"; exit 3; }
case $what in
  ssh) for p in $(pids '^[^ ]*ssh -F'); do kill -KILL "$p"; done ;;
  still) for p in $(pids '^[^ ]*ssh -F'); do kill -STOP "$p"; done; sleep 1; for p in $(pids '^[^ ]*ssh -F'); do kill -KILL "$p"; done ;;
  restic) for p in $(pids '^[^ ]*restic '); do kill -KILL "$p"; done ;;
  stop) for p in $(pids '^[^ ]*restic '); do kill -TERM "$p"; done ;;
  wait) touch cut.now; i=0; while [ $i -lt 600 ] && [ ! -e cut.done ]; do i=$((i + 1)); sleep 0.1; done ;;
esac
# After a lost connection restic retries for minutes; here it is ended.
i=0; while [ $i -lt 10 ] && kill -0 $work 2>/dev/null; do i=$((i + 1)); sleep 0.1; done
for p in $(pids '^[^ ]*restic ') $(pids '^[^ ]*ssh -F'); do kill -KILL "$p" 2>/dev/null; done
rc=0; wait $work || rc=$?; rm -f cut.now cut.done; tail -n 2 cut.out; exit $((rc == 0 ? 3 : 0))
"""


def interrupt_restic(made: ScratchRepository, how: str, *words: str, after: float = 1.2) -> str:
    """Run restic and interrupt it.

    Args:
        scratch: The repository.
        how: ``ssh`` kills the connection; ``still`` stops it, then kills it; ``restic`` kills restic, ``stop`` asks it to end;
            ``wait`` leaves the interruption to the caller (see `wait_for_middle`).
        *words: restic's arguments.
        after: Seconds of work before the interruption.

    Returns:
        What it wrote last.

    Raises:
        DrillError: It ended before it was interrupted.
    """
    line = made.restic_line(*words)
    done = made.host.run(
        "sh", "-c", _CUT, "sh", made.folder, how, str(after), stdin=line, seconds=120, check=False
    )
    if done.code != 0:
        raise DrillError(
            f"{how}: {shlex.join(words[:2])} was not cut off in the middle: {done.said.strip()[-200:]}"
        )
    return done.out.strip()


def wait_for_the_middle(made: ScratchRepository) -> None:
    """Wait until a backup that was started with ``wait`` is in its middle."""
    mark = f"{made.folder}/cut.now"
    made.host.shell(
        f"i=0; while [ $i -lt 300 ] && [ ! -e {mark} ]; do i=$((i + 1)); sleep 0.1; done; test -e {mark}"
    )


@dataclass(frozen=True, kw_only=True)
class EntryStep:
    """The program's step for the scratch repository's entry, as a file on the relay."""

    relay: SshHost
    folder: str
    name: str

    @classmethod
    def of(cls, made: ScratchRepository, folder: str) -> EntryStep:
        from components.host.program_texts import script_text  # imported late: recovery runs without Pulumi

        text = script_text("relay_entry", {**made.entry, "SOURCE": made.name})
        made.relay.run("sh", "-c", 'umask 077; cat >"$1/step"', "sh", folder, stdin=text)
        return cls(relay=made.relay, folder=folder, name=made.name)

    def check(self) -> int:
        """Run it in check mode. Returns its exit code: 0 if nothing would change, 3 for drift."""
        return self.relay.run("sh", f"{self.folder}/step", "check", check=False).code

    def try_each(self, tries: Sequence[str]) -> list[list[int]]:
        """Interrupt the step in each way, then run it again to its end, then in check mode.

        Returns:
            The three exit codes for each way.
        """
        text = [
            f"step={self.folder}/step; mkdir -p /run/lastcopy",
            "again() { sh $step apply >/dev/null 2>&1; echo $?; sh $step check >/dev/null 2>&1; echo $?; }",
        ]
        for one in tries:
            text += [f"( {one} ) >/dev/null 2>&1; echo == $?; again"]
        done = self.relay.run("sh", "-s", stdin="\n".join(text) + "\n", seconds=300)
        return [[int(word) for word in block.split()] for block in done.out.split("== ")[1:]]


# Ways to interrupt the step, as shell: killed with no chance to clean up, or with little space left for its files.
def killed_applying(milliseconds: int) -> str:
    return f"sh $step remove; exec timeout -s KILL {milliseconds / 1000:.3f} sh $step apply"


def killed_removing(milliseconds: int) -> str:
    return f"exec timeout -s KILL {milliseconds / 1000:.3f} sh $step remove"


def on_a_full_disk(size: str) -> str:
    return f'sh $step remove; exec unshare -m sh -c \'mount -t tmpfs -o size={size} tmpfs /run/lastcopy && exec sh "$0" apply\' "$step"'
