"""What a step's text passes to its script, as the shell of a host reads it."""

from __future__ import annotations

import base64
import re
import subprocess

from components.host.program_texts import stored_program


def values_of(script: str, stdin: str, shell: str = "dash") -> dict[str, str]:
    """The values of a step whose program is in the host's store."""
    found = re.search(r"^values .*(?=^main )", stdin, re.MULTILINE | re.DOTALL)
    assert found
    names = "set | sed -n 's/^V_\\([A-Z0-9_]*\\)=.*/\\1/p'"
    tell = f'for name in $({names}); do echo "$name $(value "$name" | base64 -w 0)"; done'
    # A quote: what `set` shows of a value's later lines could look like a name.
    text = f"{stored_program(script).text}\nunset V_FETCHES\n{found[0]}\n{tell}\n"
    done = subprocess.run([shell, "-s"], input=text, capture_output=True, text=True, check=True)
    lines = (line.split(" ") for line in done.stdout.splitlines())
    return {name: base64.b64decode(coded).decode() for name, coded in lines}
