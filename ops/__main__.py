"""`python -m ops`: the day-2 verbs, one sub-command each."""

from __future__ import annotations

import typer

from ops import aws_state, checks, cost, cut_off, local, packages, status
from ops.drill import cli as drill
from ops.kit import cli as kit
from ops.prune.cli import prune
from ops.recover import cli as recover
from ops.restore_drill import cli as restore_drill

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__
)
app.add_typer(local.app, name="local")
app.add_typer(recover.app, name="recover")
app.add_typer(kit.app, name="kit")
app.add_typer(restore_drill.app, name="restore-drill")
app.command("prune")(prune)
app.command("status")(status.status)
app.command("cut-off")(cut_off.cut_off)
app.command("let-in")(cut_off.let_in)
app.command("check")(checks.check)
app.command("aws-state")(aws_state.aws_state)
app.command("drill")(drill.drill)
app.command("cost")(cost.cost)
app.command("test-packages")(packages.install_for_tests)

if __name__ == "__main__":
    app()
