"""`python -m ops`: the day-2 verbs, one sub-command each."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

# verb -> module and name; a Typer of its own where it has verbs below it
VERBS = {
    "local": "ops.verbs.local:app",
    "recover": "ops.verbs.recover:app",
    "kit": "ops.verbs.kit:app",
    "restore-drill": "ops.verbs.restore_test:app",
    "prune": "ops.verbs.prune:prune",
    "status": "ops.verbs.status:status",
    "cut-off": "ops.verbs.cut_off:cut_off",
    "let-in": "ops.verbs.cut_off:let_in",
    "hand-over": "ops.verbs.hand_over:hand_over",
    "check": "ops.verbs.check:check",
    "aws-state": "ops.verbs.aws_state:aws_state",
    "drill": "attack_drill.cli:drill",
    "cost": "ops.verbs.cost:cost",
    "agent": "ops.verbs.agent:agent",
    "test-packages": "ops.verbs.test_packages:install_for_tests",
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
