"""Runs a command that sees fake programs, which report an old version of rclone or restic.

The fakes are bind mounts in a mount namespace of that one process, in every place where the product looks for the program. Nothing on the host
changes, and they are gone when the process ends.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ops.hosts.connection import SshHost

RCLONE_PLACES = "/usr/local/lib/lastcopy/rclone-*/rclone /usr/local/bin/rclone /usr/bin/rclone"
RESTIC_PLACES = "/usr/local/lib/lastcopy/restic-*/restic /usr/local/bin/restic /usr/bin/restic"

# For each version: one fake, and the command with the fake in all places. Versions and commands come in base64, so nothing is quoted twice.
_RUN = r"""
set -u; folder=$1; places=$2
printf '#!/bin/sh\n[ "$1" != version ] || cat %s/said\nexit 0\n' "$folder" >"$folder/fake"; chmod 755 "$folder" "$folder/fake"
cat >"$folder/inside" <<'INSIDE'
for at in $2; do if [ -e "$at" ]; then mount --bind "$1/fake" "$at" || exit 99; fi; done
eval "$(printf %s "$3" | base64 -d)"
INSIDE
while read -r version command stdin; do
  printf %s "$version" | base64 -d >"$folder/said"; chmod 644 "$folder/said"
  printf %s "$stdin" | base64 -d >"$folder/stdin"
  unshare -m sh "$folder/inside" "$folder" "$places" "$command" <"$folder/stdin" >"$folder/out" 2>"$folder/err"
  echo "== $?"; base64 -w 0 "$folder/out"; echo; base64 -w 0 "$folder/err"; echo
done
"""


@dataclass(frozen=True, kw_only=True)
class FakeRun:
    """How a command that saw a fake ended."""

    code: int
    out: str
    err: str


def run_with_fakes(
    host: SshHost, folder: str, places: str, versions: Sequence[str], command: str, stdin: str = ""
) -> list[FakeRun]:
    """Run a command once per version, each time with a fake of that version in all places.

    Args:
        host: Where.
        folder: A scratch folder there whose files may be executed.
        places: Where the fake is put, as shell patterns.
        versions: What each fake prints for ``version``.
        command: A shell command.
        stdin: What the command reads.
    """

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode() or "="

    lines = "".join(f"{coded(version)} {coded(command)} {coded(stdin)}\n" for version in versions)
    # The list is on stdin, so the script is an argument; it holds no secret.
    done = host.run("sh", "-c", _RUN, "sh", folder, places, stdin=lines, seconds=300)
    found = []
    for block in done.out.split("== ")[1:]:
        code, out, err = [*block.split("\n"), "", ""][:3]
        found.append(FakeRun(code=int(code), out=_text(out), err=_text(err)))
    return found


def _text(coded: str) -> str:
    return base64.b64decode(coded).decode(errors="replace")
