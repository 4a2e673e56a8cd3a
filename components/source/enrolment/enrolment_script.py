"""A script for a source without SSH access: it does for root on the host what `pulumi up` would do."""

from __future__ import annotations

from collections.abc import Mapping

from components.host.program_texts import script_text
from components.host.tool_release import release_values
from components.settings import Source
from components.source import step_values

_HEAD = """#!/bin/sh
# lastcopy: enrols this host as source {name}
# SECRET: holds the repository's password. Keep it at mode 600 and delete it once it ran.
# Run by root on the source: sh enrol-{name}.sh. Run again, it changes nothing; `sh enrol-{name}.sh check` only looks.
# No way to the Internet from here? On the workstation: lastcopy tools host restic --architecture "$(dpkg --print-architecture)"
# Bring the file that it writes, too, and run: sh enrol-{name}.sh apply FILE SHA256
# It is what `pulumi up` sends to hosts that it reaches, step by step.
set -eu
umask 077
[ "$(id -u)" = 0 ] || {{ echo "error: this needs root. fix: sudo sh $0" >&2; exit 1; }}
mode=${{1-apply}} given=${{2-}} sha256=${{3-}}
drift=
step() {{
  rc=0
  sh -s -- "$mode" '' "$given" "$sha256" || rc=$?
  case $rc in
    0) ;;
    3) drift=yes ;;
    *) exit "$rc" ;;
  esac
}}

main() {{
"""
_TAIL = """\
[ "$mode" = check ] || echo 'Enrolled. Delete this file: it holds the password. A first backup: systemctl start lastcopy-backup' >&2
[ -z "$drift" ] || exit 3
}
# Nothing ran before this last line arrived, so a file that was cut off does nothing.
main
"""


def enrolment_script(source: Source, *, public_key: str, client: Mapping[str, str], password: str) -> str:
    """The whole enrolment of an unmanaged source in one file. It contains the password: treat it as a secret, then delete it.

    Refuses a host whose key is not the one in the stack. Uses the host's restic if it is new enough, otherwise the program that is given
    as an argument with its SHA-256, otherwise the official release, verified. Needs OpenSSH and systemd on the host.
    """
    steps = (
        ("source_key", step_values.key(public_key)),
        ("host_tool", release_values("restic")),
        ("source_client", client),
        ("repository", {**step_values.repository(source), "PASSWORD": password}),
        ("schedule", step_values.schedule(source)),
    )
    texts = [_HEAD.format(name=source.name)]
    for number, (script, values) in enumerate(steps, 1):
        end = f"LASTCOPY_END_OF_STEP_{number}"
        text = script_text(script, values)
        if end in text:
            raise ValueError(f"{script}.sh holds the line that ends it")
        texts.append(f"step <<'{end}'\n{text}{end}\n")
    return "".join(texts) + _TAIL
