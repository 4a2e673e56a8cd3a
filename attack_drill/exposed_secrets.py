"""Finds secrets where other users can read them: command lines, environments, the journal and world-readable files of a host, and texts.

A host gets the patterns on stdin and keeps them in the memory of a shell and of grep, never in a file, an argument or an environment. It returns
the patterns' numbers and places, never a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from attack_drill.encodings import encodings
from attack_drill.errors import DrillError
from attack_drill.scratch_folder import scratch_folder
from ops.hosts.connection import SshHost
from sandbox.waiting import becomes_true

# How long one part of the scan may take, on a host with a long journal or many files.
SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class KnownSecrets:
    """The secrets to look for.

    Args:
        secrets: By a name that may be shown.
        planted: A word that the drill itself exposes, so that each scan proves that it finds something.
    """

    secrets: Mapping[str, str] = field(repr=False)
    planted: str

    def lines(self) -> str:
        """One line for each form of each secret: the secret's number and the form. Number 0 is the planted word."""
        named = [("planted", self.planted), *self.secrets.items()]
        return "".join(f"{n} {form}\n" for n, (_, secret) in enumerate(named) for form in encodings(secret))

    def name(self, number: int) -> str:
        return ["planted", *self.secrets][number]

    def in_text(self, text: str) -> list[str]:
        return [
            name for name, secret in self.secrets.items() if any(form in text for form in encodings(secret))
        ]

    def in_bytes(self, seen: set[bytes]) -> list[str]:
        coded = {
            name: [form.encode() for form in encodings(secret)] for name, secret in self._named().items()
        }
        return sorted(
            name for name, found in coded.items() if any(form in one for one in seen for form in found)
        )

    def _named(self) -> dict[str, str]:
        return {"planted": self.planted, **self.secrets}


# Records every command line and environment on the host, each once, until told to stop. A killed drill's watch ends by itself.
_WATCH = r"""
cd "$1"
(timeout 600 sh -c 'while [ ! -e stop ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n"; echo; sleep 0.02
done' | awk '!seen[$0]++' >seen; touch done) >/dev/null 2>&1 </dev/null &
"""
# Exposes the planted word: in an argument, in an environment, in the journal and in a world-readable file.
_PLANT = r"""
read -r secret; umask 022; printf %s "$secret" >"$1/exposed"; chmod 755 "$1"
DRILL="$secret" sleep 2 & sh -c 'sleep 2; :' sh "$secret" & printf 'lastcopy drill, planted: %s\n' "$secret" | systemd-cat -t lastcopy-drill; wait
journalctl --sync 2>/dev/null || sleep 0.5
"""
# The patterns come on stdin; `report PLACE FILE` prints which of them are in FILE.
_SCAN = r"""
cd "$1"; umask 077; set -f; P=$(cat); limit=$2
touch stop; i=0; while [ ! -e done ] && [ $i -lt 300 ]; do i=$((i + 1)); sleep 0.1; done
all() { printf '%s\n' "$P" | cut -d ' ' -f 2; }
report() { printf '%s\n' "$P" | while read -r n form; do if printf '%s\n' "$form" | grep -qaFf - "$2"; then printf '%s %s\n' "$n" "$1"; fi; done; }
late() { [ "$1" != 124 ] || printf '! %s\n' "$2"; }

all | grep -aFf - seen >hits; report 'a command line or environment' hits

{ all | timeout "$limit" sh -c 'exec 3<&0; journalctl -q --no-pager -o cat | grep -aFf /dev/fd/3' >hits; echo $? >code; }
late "$(cat code)" 'the journal'; report 'the journal' hits

timeout "$limit" find / -xdev \( -path /proc -o -path /sys \) -prune -o -type f -perm -004 -size -4M -print >files; late $? 'the list of files'
timeout "$limit" find /run /tmp /dev/shm /var/log -type f -perm -004 -size -4M -print >>files 2>/dev/null; late $? 'the list of files'
rm -f part.*; split -l 400 -a 4 files part.
IFS='
'
began=$(date +%s); set +f
for part in part.*; do
  set -f; [ $(($(date +%s) - began)) -lt "$limit" ] || { printf '! world-readable files\n'; break; }
  all | grep -alFf - -- $(cat "$part") >named 2>/dev/null
  while read -r file; do cat -- "$file" >hits 2>/dev/null; IFS=' '; report "$file, world-readable" hits; IFS='
'; done <named
done
"""


@dataclass(frozen=True, kw_only=True)
class HostScan:
    """What a scan of a host found.

    Args:
        found: Each secret's name and place.
        cut_short: Places that were not read to the end.
    """

    found: list[tuple[str, str]]
    cut_short: list[str]

    def of(self, name: str) -> list[str]:
        return sorted({place for found, place in self.found if found == name})


@dataclass(kw_only=True)
class HostWatch:
    """A host whose processes are recorded while it works. Call `scan` once, before the watch ends."""

    host: SshHost
    folder: str

    def scan(self, known: KnownSecrets) -> HostScan:
        self.host.run("sh", "-c", _PLANT, "sh", self.folder, stdin=f"{known.planted}\n")
        done = self.host.run(
            "sh", "-c", _SCAN, "sh", self.folder, str(SECONDS), stdin=known.lines(), seconds=SECONDS * 5
        )
        found, cut_short = [], []
        for line in done.out.splitlines():
            number, _, place = line.partition(" ")
            if number == "!":
                cut_short.append(place)
            else:
                found.append((known.name(int(number)), place))
        return HostScan(found=found, cut_short=cut_short)


@contextmanager
def watch_host(host: SshHost) -> Iterator[HostWatch]:
    """Record the command line and environment of every process on a host from here on."""
    with scratch_folder(host) as folder:
        host.run("sh", "-c", _WATCH, "sh", folder)
        if not becomes_true(lambda: host.run("test", "-e", f"{folder}/seen", check=False).code == 0, 10):
            raise DrillError(f"recording {host.name}'s processes did not begin within 10 s")
        try:
            yield HostWatch(host=host, folder=folder)
        finally:
            host.run("touch", f"{folder}/stop", check=False)
