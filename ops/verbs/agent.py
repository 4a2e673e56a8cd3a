"""`python -m ops agent -- COMMAND`: a command beside an ssh agent that offers the keys of ``lastcopy:admin.agentKeys`` alone."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ops.checkout import ROOT
from ops.hosts.filtered_agent import keys_named, run_beside
from ops.stack import StackError, chosen
from ops.verbs.options import ConfigFileOption, StackOption


def agent(
    command: Annotated[list[str], typer.Argument(help="What to run, behind `--`.", metavar="-- COMMAND…")],
    stack: StackOption = None,
    config_file: ConfigFileOption = None,
) -> None:
    """Run a command beside an ssh agent that offers the keys of lastcopy:admin.agentKeys alone: sshd takes six."""
    try:
        keys = keys_named(chosen(ROOT, stack, config_file=config_file).config())
        behind = os.environ.get("SSH_AUTH_SOCK")
        if not keys:
            raise StackError(
                "no key of the agent is named",
                where="lastcopy:admin.agentKeys, beside admin.agent: true",
                fix="pulumi config set --path 'lastcopy:admin.agentKeys[0]' \"$(cat ~/.ssh/backup-admin.pub)\"",
            )
        if not behind:
            raise StackError("there is no ssh agent", where="SSH_AUTH_SOCK", fix="eval $(ssh-agent); ssh-add")
    except StackError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(run_beside(keys, behind, command))
