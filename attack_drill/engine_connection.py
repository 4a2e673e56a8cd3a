"""Makes the real engine send a step to a given endpoint, in a project and a state of its own: how `pulumi up` connects (row A1)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.hosts.connection import CommandResult
from ops.stack import Stack

_PROJECT = """\
name: lastcopy-drill
runtime:
  name: python
  options:
    virtualenv: {virtualenv}
"""
# The step is harmless: it cuts off a source that does not exist. If the connection is refused, it is never sent.
_PROGRAM = """\
import json, pathlib, sys
given = json.loads(pathlib.Path("given.json").read_text())
sys.path.insert(0, given["root"])
from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
key = pathlib.Path(given["key"]).read_text()
for name, (port, host_key) in given["endpoints"].items():
    host = Host(name=name, address="127.0.0.1", port=port, host_key=host_key, user="nobody", private_key=key, dials=1)
    HostStep(name, HostStepArgs(host=host, script="cutoff", values={"SOURCE": "nobody"}, seconds=10))
"""

_OF_THE_STACK = ("PULUMI_STACK", "PULUMI_CONFIG_PASSPHRASE")


def connect_by_engine(stack: Stack, folder: Path, endpoints: Mapping[str, tuple[int, str]]) -> CommandResult:
    """Run `pulumi up` with one HostStep per endpoint, and a key that no host accepts.

    Args:
        stack: The stack whose engine and environment are used; its state is not touched.
        folder: Where the project is made.
        endpoints: By name: a port on the loopback interface, and the host key to pin.
    """
    project = folder / "engine"
    (project / "state").mkdir(parents=True, exist_ok=True)
    key = project / "key"
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True, timeout=20
        )
    (project / "Pulumi.yaml").write_text(_PROJECT.format(virtualenv=json.dumps(sys.prefix)))
    (project / "__main__.py").write_text(_PROGRAM)
    given = {"root": str(stack.root), "key": str(key), "endpoints": endpoints}
    (project / "given.json").write_text(json.dumps(given))
    passphrase = project / "passphrase"
    passphrase.touch(0o600)
    passphrase.write_text(secrets.token_urlsafe(32))
    # The stack's own backend and secrets provider must not be used, and may be of another kind.
    environment = {name: value for name, value in stack.environment.items() if name not in _OF_THE_STACK} | {
        "PULUMI_BACKEND_URL": f"{(project / 'state').as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
    }

    def pulumi(*words: str) -> CommandResult:
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive", "--color=never"], cwd=project, env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)

    made = pulumi("stack", "select", "--create", "dial", "--secrets-provider", "passphrase")
    if made.code != 0:
        return made
    return pulumi("up", "--yes", "--skip-preview", "--continue-on-error", "--stack", "dial")
