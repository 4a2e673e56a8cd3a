"""The command line as a whole: who may import whom, earlier names, exit codes, errors and options that are the same for every verb."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer._click import Context
from typer.testing import CliRunner

from ops.command_line.app import DEVELOPERS, OPERATORS, VERBS, app, command_line
from ops.command_line.exit_codes import ExitCode
from ops.errors import LastcopyError

ROOT = Path(__file__).resolve().parents[3]
UPPER = ("ops.command_line", "ops.verbs", "attack_drill", "typer")


def imported_by(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


def test_the_library_imports_no_verb_and_nothing_of_the_command_line() -> None:
    upper = [ROOT / "ops" / name for name in ("command_line", "verbs")]
    library = [
        file
        for file in (ROOT / "ops").rglob("*.py")
        if file.name != "__main__.py" and not any(file.is_relative_to(folder) for folder in upper)
    ]
    assert len(library) > 40
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in library
        for name in imported_by(file)
        if name.startswith(UPPER)
    ]
    assert found == []


def test_the_sabotage_an_import_of_a_verb_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f() -> None:\n    from ops.verbs import recover\n")
    assert [name for name in imported_by(tmp_path / "a.py") if name.startswith(UPPER)]


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield words, command
        return
    context = Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name))


def test_an_option_means_the_same_at_every_verb() -> None:
    """Declared once: the same help text wherever one of the shared options is taken."""
    shared = {
        "--stack",
        "--config-file",
        "--sandbox",
        "--kit",
        "--passphrase-file",
        "--identity",
        "--lock-was",
    }
    helps: dict[str, set[str]] = {name: set() for name in shared}
    for words, command in leaves(command_line()):
        if words[0] in ("sandbox", "tools") or words == ("kit", "show"):  # the kit is what that one is about
            continue
        for option in command.params:
            for name in shared & set(option.opts):
                helps[name].add(option.help)
    assert {name: len(texts) for name, texts in helps.items()} == dict.fromkeys(shared, 1)


def test_what_a_verb_tells_can_be_had_as_json() -> None:
    silent = {"agent", "restore-test units", "local up", "local down", "test-packages"}
    internal = {verb.name for verb in VERBS if verb.is_hidden}  # `pulumi up` runs them
    without = {
        " ".join(words)
        for words, command in leaves(command_line())
        if words[0] not in ("sandbox", "tools", *internal)
        and not any("--json" in one.opts for one in command.params)
    }
    assert without == silent


def test_help_tells_operators_verbs_from_developers_and_hides_earlier_names() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    assert told.index(OPERATORS) < told.index("status") < told.index(DEVELOPERS) < told.index("check")
    assert "restore-drill" not in told
    assert "hand-over" not in told


@pytest.mark.parametrize(("earlier", "now"), [("drill", "attack-drill"), ("restore-drill", "restore-test")])
def test_an_earlier_name_is_the_same_verb(earlier: str, now: str) -> None:
    """systemd units that an older version wrote call it."""
    tree = command_line()
    before, after = (tree.get_command(Context(tree), name) for name in (earlier, now))  # type: ignore[attr-defined]
    assert before is not None
    assert after is not None
    assert [one.opts for one in before.params] == [one.opts for one in after.params]
    assert (before.hidden, after.hidden) == (True, False)


def test_only_the_verb_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from ops.command_line.app import app; app(['cut-off', '--help'], standalone_mode=False)\n"
        "print([one for one in sys.modules if one.startswith(('ops.verbs.', 'attack_drill', 'boto3'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['ops.verbs.cut_off']"


def test_an_error_is_told_once_on_standard_error_with_the_exit_code_of_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LastcopyError("it is refused", where="here", allowed="there", fix="go there")

    monkeypatch.setattr("ops.aws_state.make_state_backend", refuse)
    monkeypatch.setattr("ops.verbs.aws_state.make_state_backend", refuse)
    done = CliRunner().invoke(app, ["aws-state", "--bucket", "b", "--region", "r", "--json"])
    assert (done.exit_code, done.stdout) == (ExitCode.REFUSED, "")
    assert done.stderr == "error: it is refused\n  where:   here\n  allowed: there\n  fix:     go there\n"


def test_with_json_standard_output_is_one_value_and_words_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ops.verbs.aws_state.make_state_backend", lambda *_: ["versioning"])
    words = ["aws-state", "--bucket", "b", "--region", "r"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(done.stdout)["made"] == ["versioning"]
    assert "made: versioning" in done.stderr
    plain = CliRunner().invoke(app, words)
    assert "made: versioning" in plain.stdout, "the next verb of a process speaks on standard output again"


def test_a_wrong_word_is_a_mistake_of_usage() -> None:
    done = CliRunner().invoke(app, ["statu"])
    assert (done.exit_code, "Did you mean 'status'" in done.output) == (ExitCode.USAGE, True)


def test_an_interruption_has_an_exit_code_of_its_own_and_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.verbs.status.check_request", interrupt)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == ExitCode.INTERRUPTED
    assert "no version was deleted" in done.stderr


def test_shells_can_complete_verbs() -> None:
    environment = {"PATH": "/usr/bin:/bin", "_LASTCOPY_COMPLETE": "complete_bash", "COMP_WORDS": "lastcopy re", "COMP_CWORD": "1"}  # fmt: skip
    code = "from ops.command_line.app import app; app(prog_name='lastcopy')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["recover", "restore-test"], done.stderr


def test_every_verb_has_one_name() -> None:
    names = [name for verb in VERBS for name in (verb.name, *verb.aliases)]
    assert len(names) == len(set(names))
