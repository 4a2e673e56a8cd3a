"""SSH connections that do not share the drill's own connection, so that each is a login of its own."""

from __future__ import annotations

import subprocess

from ops.hosts.connection import CommandResult, SshHost, ssh_environment

# ssh uses the first value of an option that is given twice, so these go before the host's own options.
UNSHARED = ("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ConnectTimeout=10")


def login_command(host: SshHost, *options: str, command: tuple[str, ...] = ("true",)) -> list[str]:
    """The argument vector of a new login, even if a shared connection is already open."""
    ssh, *rest = host.words(*command)
    return [ssh, *UNSHARED, *options, *rest]


def log_in(
    host: SshHost, *options: str, command: tuple[str, ...] = ("true",), seconds: float = 25, stdin: str = ""
) -> CommandResult:
    """Log in and run a command.

    Args:
        host: The host.
        *options: ssh options that go before the host's own.
        command: What to run there.
        seconds: The time limit.
        stdin: What the command reads.

    Returns:
        How it ended. A refused login is a result, not an error; exit code 124 means a timeout.
    """
    words = login_command(host, *options, command=command)
    try:
        done = subprocess.run(
            words,
            env=ssh_environment(),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CommandResult(code=124, out="", err="timed out")
    return CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)
