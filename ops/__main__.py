"""`python -m ops`: the day-2 verbs, one sub-command each."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

# verb -> module and name; a Typer of its own where it has verbs below it
VERBS = {
    "local": "ops.local:app",
    "recover": "ops.recover.cli:app",
    "kit": "ops.kit.cli:app",
    "restore-drill": "ops.restore_drill.cli:app",
    "prune": "ops.prune.cli:prune",
    "status": "ops.status:status",
    "cut-off": "ops.cut_off:cut_off",
    "let-in": "ops.cut_off:let_in",
    "hand-over": "ops.hand_over:hand_over",
    "check": "ops.checks:check",
    "aws-state": "ops.aws_state:aws_state",
    "drill": "attack_drill.cli:drill",
    "cost": "ops.cost:cost",
    "agent": "ops.agent:agent",
    "test-packages": "ops.packages:install_for_tests",
}


def program(verb: str | None = None) -> typer.Typer:
    """All verbs, or the one that is asked for: importing the others takes longer than some of them run."""
    made = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__
    )
    made.callback()(lambda: None)  # a single verb stays a verb
    for name in [verb] if verb in VERBS else VERBS:
        module, _, attribute = VERBS[name].partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


if __name__ == "__main__":
    program(sys.argv[1] if len(sys.argv) > 1 else None)()
else:
    app = program()
