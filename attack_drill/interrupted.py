"""Work on a throwaway that is cut off in the middle: backups and restores on the source, the relay's step on the relay."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from attack_drill.errors import DrillError
from attack_drill.throwaway import Throwaway
from ops.hosts.connection import Host

# So slow that the middle can be met: 12 MiB of noise at 1.5 MiB a second.
BIG = "head -c 12582912 /dev/urandom >big"
SLOW = ("--limit-upload", "1500", "--pack-size", "4", "--no-cache")
# Of the throwaway's own processes on the source, and of nobody else's: `ended NAME` kills those whose command line begins with it.
_CUT = r"""
cd "$1"; what=$2; line=$(cat)
pids() { for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -c "$1.*$folder")" = 0 ] || echo "${p#/proc/}"; done; }
folder=$1
sh -c "$line" >cut.out 2>&1 & work=$!
i=0; while [ $i -lt 100 ] && [ -z "$(pids '^[^ ]*ssh -F')" ]; do i=$((i + 1)); sleep 0.1; done
sleep "$3"
kill -0 $work 2>/dev/null || { cat cut.out; echo "it had ended before it could be cut"; exit 3; }
case $what in
  ssh) for p in $(pids '^[^ ]*ssh -F'); do kill -KILL "$p"; done ;;
  still) for p in $(pids '^[^ ]*ssh -F'); do kill -STOP "$p"; done; sleep 1; for p in $(pids '^[^ ]*ssh -F'); do kill -KILL "$p"; done ;;
  restic) for p in $(pids '^[^ ]*restic '); do kill -KILL "$p"; done ;;
  stop) for p in $(pids '^[^ ]*restic '); do kill -TERM "$p"; done ;;
  wait) touch cut.now; i=0; while [ $i -lt 600 ] && [ ! -e cut.done ]; do i=$((i + 1)); sleep 0.1; done ;;
esac
# restic tries again for minutes where the connection was lost: whoever ran it gives up.
i=0; while [ $i -lt 10 ] && kill -0 $work 2>/dev/null; do i=$((i + 1)); sleep 0.1; done
for p in $(pids '^[^ ]*restic ') $(pids '^[^ ]*ssh -F'); do kill -KILL "$p" 2>/dev/null; done
rc=0; wait $work || rc=$?; rm -f cut.now cut.done; tail -n 2 cut.out; exit $((rc == 0 ? 3 : 0))
"""


def cut(made: Throwaway, how: str, *words: str, after: float = 1.2) -> str:
    """restic, cut off ``after`` so many seconds of work by ``how`` (ssh, still, restic, stop, wait); raises where it ended before. What it said last."""
    line = made.line(*words)
    done = made.host.run(
        "sh", "-c", _CUT, "sh", made.folder, how, str(after), stdin=line, seconds=120, check=False
    )
    if done.code != 0:
        raise DrillError(
            f"{how}: {shlex.join(words[:2])} was not cut off in the middle: {done.said.strip()[-200:]}"
        )
    return done.out.strip()


def wait_for_the_middle(made: Throwaway) -> None:
    """Until a backup that waits for the cut (`wait`) is in its middle."""
    mark = f"{made.folder}/cut.now"
    made.host.shell(
        f"i=0; while [ $i -lt 300 ] && [ ! -e {mark} ]; do i=$((i + 1)); sleep 0.1; done; test -e {mark}"
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """The relay's step for the throwaway's entry, as a file in a folder of the drill's own on the relay."""

    relay: Host
    folder: str
    name: str

    @classmethod
    def of(cls, made: Throwaway, folder: str) -> Step:
        from components.host.host_step import script_text  # here: recovery runs where no Pulumi is

        text = script_text("relay_entry", {**made.entry, "SOURCE": made.name})
        made.relay.run("sh", "-c", 'umask 077; cat >"$1/step"', "sh", folder, stdin=text)
        return cls(relay=made.relay, folder=folder, name=made.name)

    def checked(self) -> int:
        """0: everything is as it should be; 3: drift."""
        return self.relay.run("sh", f"{self.folder}/step", "check", check=False).code

    def tried(self, tries: Sequence[str]) -> list[list[int]]:
        """Each try, then the step run again to its end, then a look for drift: three exit codes a try, all in one command."""
        text = [
            f"step={self.folder}/step; mkdir -p /run/lastcopy",
            "again() { sh $step apply >/dev/null 2>&1; echo $?; sh $step check >/dev/null 2>&1; echo $?; }",
        ]
        for one in tries:
            text += [f"( {one} ) >/dev/null 2>&1; echo == $?; again"]
        done = self.relay.run("sh", "-s", stdin="\n".join(text) + "\n", seconds=300)
        return [[int(word) for word in block.split()] for block in done.out.split("== ")[1:]]


# What may happen to the step, in the words of a shell. Killed with no chance to clean up; or with so much room where it works, for it alone.
def killed_applying(milliseconds: int) -> str:
    return f"sh $step remove; exec timeout -s KILL {milliseconds / 1000:.3f} sh $step apply"


def killed_removing(milliseconds: int) -> str:
    return f"exec timeout -s KILL {milliseconds / 1000:.3f} sh $step remove"


def on_a_full_disk(size: str) -> str:
    return f'sh $step remove; exec unshare -m sh -c \'mount -t tmpfs -o size={size} tmpfs /run/lastcopy && exec sh "$0" apply\' "$step"'
