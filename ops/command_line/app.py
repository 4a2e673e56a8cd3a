"""The `lastcopy` command: which verbs there are, for whom, and how the errors of all verbs are handled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import typer
from typer._click.exceptions import UsageError
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ops.command_line import output
from ops.command_line.exit_codes import ExitCode
from ops.errors import LastcopyError
from toolchain.command_line import asks_for_json, print_json_errors

if TYPE_CHECKING:
    from typer._click import Command, Context  # Typer brings its own click

# Chapters of `--help` and docs/commands.md: three for operators, then that for developers.
EMERGENCY, ROUTINE, SET_UP = "When something is wrong", "As a routine", "To set up"
DEVELOPERS = "For developers of this project"
NO_VERSION_DELETED = "interrupted; no version was deleted. Run it again: a rebuild or prune continues where it stopped, a restore with --existing update"


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb. ``where``: the module and the function or Typer app in it. ``aliases``: earlier names, which keep working.

    ``interrupted``: the message after an interruption; if given, SIGTERM and SIGHUP end the verb as Ctrl-C does, with its clean-up.
    """

    name: str
    where: str
    panel: str
    aliases: tuple[str, ...] = ()
    is_hidden: bool = False
    interrupted: str = ""

    def load(self, name: str) -> Command:
        """Import the verb's module and return its command under one of its names."""
        module, _, attribute = self.where.partition(":")
        found = getattr(import_module(module), attribute)
        app = found if isinstance(found, typer.Typer) else typer.Typer(add_completion=False)
        if app is not found:
            app.command(self.name)(found)
        command = get_command(app)
        command.name = name
        command.hidden = self.is_hidden or name != self.name
        if isinstance(command, TyperCommand | TyperGroup):
            command.rich_help_panel = self.panel
        return command


VERBS = (
    Verb(name="status", where="ops.verbs.status:status", panel=EMERGENCY, interrupted=NO_VERSION_DELETED),
    Verb(name="cut-off", where="ops.verbs.cut_off:cut_off", panel=EMERGENCY),
    Verb(name="let-in", where="ops.verbs.cut_off:let_in", panel=EMERGENCY),
    Verb(name="recover", where="ops.verbs.recover:app", panel=EMERGENCY, interrupted=NO_VERSION_DELETED),
    Verb(name="kit", where="ops.verbs.kit:app", panel=ROUTINE, interrupted=NO_VERSION_DELETED),
    Verb(
        name="restore-test",
        where="ops.verbs.restore_test:app",
        panel=ROUTINE,
        aliases=("restore-drill",),
        interrupted=NO_VERSION_DELETED,
    ),
    Verb(
        name="attack-drill",
        where="attack_drill.cli:drill",
        panel=ROUTINE,
        aliases=("drill",),
        interrupted="interrupted; everything that the drill created was removed",
    ),
    Verb(name="prune", where="ops.verbs.prune:prune", panel=ROUTINE, interrupted=NO_VERSION_DELETED),
    Verb(name="tools", where="toolchain.__main__:app", panel=SET_UP),
    Verb(name="agent", where="ops.verbs.agent:agent", panel=SET_UP),
    Verb(name="aws-state", where="ops.verbs.aws_state:aws_state", panel=SET_UP),
    Verb(name="cost", where="ops.verbs.cost:cost", panel=SET_UP),
    Verb(name="local", where="ops.verbs.local:app", panel=DEVELOPERS),
    Verb(name="sandbox", where="sandbox.__main__:app", panel=DEVELOPERS),
    Verb(name="check", where="ops.verbs.check:check", panel=DEVELOPERS),
    Verb(name="test-packages", where="ops.verbs.test_packages:install_for_tests", panel=DEVELOPERS),
    Verb(name="hand-over", where="ops.verbs.hand_over:hand_over", panel=DEVELOPERS, is_hidden=True),
    Verb(name="send-programs", where="ops.verbs.programs:send_programs", panel=DEVELOPERS, is_hidden=True),
    Verb(
        name="remove-programs", where="ops.verbs.programs:remove_programs", panel=DEVELOPERS, is_hidden=True
    ),
)
_BY_NAME = {name: verb for verb in VERBS for name in (verb.name, *verb.aliases)}


class Verbs(TyperGroup):
    """All verbs. A verb is imported only when it is needed: importing all of them takes longer than some of them run."""

    def __init__(self, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]  # Typer's own, passed through
        self.commands = {verb.name: TyperCommand(verb.name, hidden=verb.is_hidden) for verb in VERBS}

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - Typer's signature
        """The verb with this name or earlier name."""
        verb = _BY_NAME.get(cmd_name)
        return None if verb is None else verb.load(cmd_name)

    def invoke(self, ctx: Context) -> object:
        """Run a verb and exit with its exit code."""
        words = [*ctx._protected_args, *ctx.args]
        verb = _BY_NAME.get(next(iter(words), ""))
        with _errors_told(verb.interrupted if verb else "", as_json=asks_for_json(words)):
            return super().invoke(ctx)


@contextmanager
def _errors_told(interrupted: str, *, as_json: bool) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP) if interrupted else ()
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except LastcopyError as error:
        output.tell_error(error)
        if as_json:
            print_json_errors(error.as_data())
        raise typer.Exit(ExitCode.REFUSED) from None
    except UsageError as error:
        if as_json:
            where = error.ctx.command_path if error.ctx else "lastcopy"
            print_json_errors([{"what": error.format_message(), "where": where, "fix": f"{where} --help"}])
        raise
    except KeyboardInterrupt as stopped:
        text = str(stopped) or interrupted or "interrupted"
        output.errors.print(text, markup=False, soft_wrap=True)
        if as_json:
            print_json_errors([{"what": text}])
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        output.reset()


app = typer.Typer(cls=Verbs, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def lastcopy() -> None:
    """Operate restic backups that nobody on the backed-up machine can delete, change or locate.

    Every verb has --help and --json. What to run when: docs/runbook.md; exit codes and JSON: docs/commands.md.
    """


def command_line() -> Command:
    """The whole command line, for generating its documentation."""
    return get_command(app)
