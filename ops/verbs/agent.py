"""`lastcopy agent -- COMMAND`: runs a command with an ssh agent that offers only the keys of ``lastcopy:admin.agentKeys``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ops.command_line.options import StackOptions, takes_options
from ops.command_line.output import ErrorsAsJsonOption
from ops.errors import LastcopyError
from ops.hosts.filtered_agent import read_agent_keys, run_with_agent


@takes_options
def agent(
    command: Annotated[
        list[str], typer.Argument(help="The command to run, after `--`.", metavar="-- COMMAND…")
    ],
    options: StackOptions,
    _as_json: ErrorsAsJsonOption = False,
) -> None:
    """Run a command with an ssh agent that offers only the keys of lastcopy:admin.agentKeys.

    sshd closes the connection after six keys that it does not know.
    """
    keys = read_agent_keys(options.open().config())
    behind = os.environ.get("SSH_AUTH_SOCK")
    if not keys:
        raise LastcopyError(
            "the settings name no key of the agent",
            where="lastcopy:admin.agentKeys, with admin.agent: true",
            fix="pulumi config set --path 'lastcopy:admin.agentKeys[0]' \"$(cat ~/.ssh/backup-admin.pub)\"",
        )
    if not behind:
        raise LastcopyError("there is no ssh agent", where="SSH_AUTH_SOCK", fix="eval $(ssh-agent); ssh-add")
    raise typer.Exit(run_with_agent(keys, behind, command))
