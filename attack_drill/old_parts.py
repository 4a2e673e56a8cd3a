"""Old parts: programs that say they are an old rclone or restic, shown to one process alone in a mount namespace of its own.

Nothing on the host changes: the bind mounts end with the process. Every place where the product looks for the program shows the fake.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ops.hosts.connection import Host

RCLONE_PLACES = "/usr/local/lib/lastcopy/rclone-*/rclone /usr/local/bin/rclone /usr/bin/rclone"
RESTIC_PLACES = "/usr/local/lib/lastcopy/restic-*/restic /usr/local/bin/restic /usr/bin/restic"

# Per version one fake, then the command with the fake in all places; the version and what is run come in base64, so nothing is quoted twice.
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
class Ran:
    """How the command ended that saw the fake."""

    code: int
    out: str
    err: str


def with_fakes(
    host: Host, folder: str, places: str, versions: Sequence[str], command: str, stdin: str = ""
) -> list[Ran]:
    """``command`` once per version text, each time with a fake of that version in all places. ``folder`` must allow programs."""

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode() or "="

    lines = "".join(f"{coded(version)} {coded(command)} {coded(stdin)}\n" for version in versions)
    # The script's own stdin is the list, so the script itself is an argument; it holds no secret.
    done = host.run("sh", "-c", _RUN, "sh", folder, places, stdin=lines, seconds=300)
    found = []
    for block in done.out.split("== ")[1:]:
        code, out, err = [*block.split("\n"), "", ""][:3]
        found.append(Ran(code=int(code), out=_text(out), err=_text(err)))
    return found


def _text(coded: str) -> str:
    return base64.b64decode(coded).decode(errors="replace")
