"""Leaks: whether a secret stands where it must not, on a host or in a text; in any of the forms that this program or a shell would give it.

A host gets the patterns on stdin and keeps them in the memory of one shell and of grep: never in a file, an argument or an environment. What
comes back are the patterns' numbers and places, never a secret.
"""

from __future__ import annotations

import base64
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from attack_drill.dial import scratch
from attack_drill.errors import DrillError
from ops.hosts.connection import Host

# What a look may take on a host with a long journal or many files.
SECONDS = 60


def forms(secret: str) -> list[str]:
    """The secret as it is, in base64 at each of the three places that it can have within a longer text, in hex, and as a URL writes it."""
    raw = secret.encode()
    found = [secret, raw.hex(), urllib.parse.quote(secret, safe="")]
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode()
        # Only what no neighbour can change.
        found.append(coded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6])
    return sorted({form for form in found if len(form) >= 12})


@dataclass(frozen=True, kw_only=True)
class Known:
    """Every secret by a name that may be told. ``planted``: what the drill itself leaves lying about, so that each look proves its eyes."""

    secrets: Mapping[str, str] = field(repr=False)
    planted: str

    def lines(self) -> str:
        """Number of the secret and one form, a line each; 0 is what was planted."""
        named = [("planted", self.planted), *self.secrets.items()]
        return "".join(f"{n} {form}\n" for n, (_, secret) in enumerate(named) for form in forms(secret))

    def name(self, number: int) -> str:
        return ["planted", *self.secrets][number]

    def in_text(self, text: str) -> list[str]:
        return [name for name, secret in self.secrets.items() if any(form in text for form in forms(secret))]

    def in_bytes(self, seen: set[bytes]) -> list[str]:
        coded = {name: [form.encode() for form in forms(secret)] for name, secret in self._named().items()}
        return sorted(
            name for name, found in coded.items() if any(form in one for one in seen for form in found)
        )

    def _named(self) -> dict[str, str]:
        return {"planted": self.planted, **self.secrets}


# Every command line and environment on the host, each once, until told to stop; a killed drill's watch ends by itself.
_WATCH = r"""
cd "$1"
(timeout 600 sh -c 'while [ ! -e stop ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n"; echo; sleep 0.02
done' | awk '!seen[$0]++' >seen; touch done) >/dev/null 2>&1 </dev/null &
"""
# The drill's own careless words: in an argument, in an environment, in the journal and in a file that all may read.
_PLANT = r"""
read -r secret; umask 022; printf %s "$secret" >"$1/careless"; chmod 755 "$1"
DRILL="$secret" sleep 2 & sh -c 'sleep 2; :' sh "$secret" & printf 'lastcopy drill, planted: %s\n' "$secret" | systemd-cat -t lastcopy-drill; wait
journalctl --sync 2>/dev/null || sleep 0.5
"""
# The patterns come on stdin; `report PLACE FILE` prints which of them stand in FILE.
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
  set -f; [ $(($(date +%s) - began)) -lt "$limit" ] || { printf '! files that all may read\n'; break; }
  all | grep -alFf - -- $(cat "$part") >named 2>/dev/null
  while read -r file; do cat -- "$file" >hits 2>/dev/null; IFS=' '; report "$file, which all may read" hits; IFS='
'; done <named
done
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look at a host found: secret and place; and places that were not looked at to the end."""

    found: list[tuple[str, str]]
    cut_short: list[str]

    def of(self, name: str) -> list[str]:
        return sorted({place for found, place in self.found if found == name})

    @property
    def leaks(self) -> list[str]:
        return sorted({f"{name} in {place}" for name, place in self.found if name != "planted"})


@dataclass(kw_only=True)
class Look:
    """One host while it works. Ask `end` once, within."""

    host: Host
    folder: str

    def end(self, known: Known) -> Seen:
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
        return Seen(found=found, cut_short=cut_short)


@contextmanager
def looking(host: Host) -> Iterator[Look]:
    """From here on every process of the host is seen."""
    with scratch(host) as folder:
        host.run("sh", "-c", _WATCH, "sh", folder)
        deadline = time.monotonic() + 10
        while host.run("test", "-e", f"{folder}/seen", check=False).code != 0:
            if time.monotonic() > deadline:
                raise DrillError(f"the watch over {host.name}'s processes did not begin")
        try:
            yield Look(host=host, folder=folder)
        finally:
            host.run("touch", f"{folder}/stop", check=False)
