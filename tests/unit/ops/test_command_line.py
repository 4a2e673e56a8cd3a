"""The command line as a whole: who may import whom, earlier names, exit codes, errors and options that are the same for every verb."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import typer
from typer._click import Context
from typer.main import get_command
from typer.testing import CliRunner

from docs.json_documents import DOCUMENTS
from ops.command_line.app import DEVELOPERS, EMERGENCY, ROUTINE, SET_UP, VERBS, app, command_line
from ops.command_line.exit_codes import ExitCode
from ops.command_line.output import JsonOption, console
from ops.errors import LastcopyError
from ops.stack import LocalStack
from tests.unit.ops.test_cost import AWS
from toolchain.cache import Tool
from toolchain.checkout import ROOT

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


def test_sabotage_an_import_of_a_verb_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f() -> None:\n    from ops.verbs import recover\n")
    assert [name for name in imported_by(tmp_path / "a.py") if name.startswith(UPPER)]


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield words, command
        return
    context = Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name))


def test_an_option_means_the_same_in_every_verb() -> None:
    """Declared once: the same help text wherever one of the shared options is used."""
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


INTERNAL = {verb.name for verb in VERBS if verb.is_hidden}  # `pulumi up` runs them
VISIBLE = [words for words, _ in leaves(command_line()) if words[0] not in INTERNAL]


def without_json(tree: Any) -> list[str]:
    """Verbs without ``--json``, or with a ``--json`` that takes a value."""
    return [
        " ".join(words)
        for words, command in leaves(tree)
        if words[0] not in INTERNAL
        and not any("--json" in one.opts and one.is_flag for one in command.params)
    ]


def test_every_verb_accepts_json() -> None:
    assert len(VISIBLE) > 30
    assert without_json(command_line()) == []


@pytest.mark.parametrize("kind", ["none", "with a value"])
def test_sabotage_a_verb_without_json_is_seen(kind: str) -> None:
    app = typer.Typer()

    @app.command()
    def one(as_json: JsonOption = False) -> None: ...

    if kind == "none":
        app.command("two")(lambda: None)
    else:

        @app.command()
        def two(file: Annotated[Path | None, typer.Option("--json")] = None) -> None: ...

    assert without_json(get_command(app)) == ["two"]


def as_json(*words: str) -> tuple[int, Any]:
    """Exit code, and the one value on standard output."""
    done = CliRunner().invoke(app, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


SECRET = "/etc/lastcopy/secret"
NO_KEY = "noSuchKey"
# Verbs that need neither a stack nor a machine, and the keys of their document.
RUN = [
    ("check",),
    ("cost", "--data-gib", "1", "--change-gib-per-day", "1", "--file", "Pulumi.prod.yaml"),
    ("restore-test", "units", "--kit", SECRET, "--passphrase-file", SECRET, "--storage-key", SECRET),
    ("test-packages",),
    ("tools", "ensure"),
    ("tools", "env"),
    ("tools", "host", "restic", "--architecture", "arm64"),
    ("tools", "list"),
    ("tools", "path", "restic"),
    ("local", "up"),
    ("local", "down"),
]


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The verbs' own code runs; what would take minutes, or change this machine, does not."""
    monkeypatch.setattr("ops.verbs.check._commands", lambda _: {"format": ["true"], "lint": ["echo", "x"]})
    monkeypatch.setattr("ops.packages.find_missing", list)
    monkeypatch.setattr("ops.packages.raise_watch_limit", lambda: None)
    tool = Tool(name="restic", version="1", path=tmp_path / "restic", origin="built")
    tool.path.write_bytes(b"a program")
    monkeypatch.setattr("toolchain.toolchain.Toolchain.ensure", lambda *_, **__: {"restic": tool})
    monkeypatch.setattr("toolchain.toolchain.Toolchain.for_host", lambda *_: tool)
    monkeypatch.setattr("toolchain.engine.shell_additions", lambda *_: {"PATH": "/x"})
    stack = LocalStack.__new__(LocalStack)
    stack.root, stack.name, stack.environment, stack.config_file = tmp_path, "local", {}, None
    (tmp_path / ".local").mkdir()
    (tmp_path / "Pulumi.prod.yaml").write_text(AWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ops.verbs.local.LocalStack", lambda *_: stack)
    monkeypatch.setattr("ops.verbs.local.ROOT", tmp_path)
    for name in ("create", "up", "exists"):
        monkeypatch.setattr(stack, name, lambda *_: print("words for people", file=sys.stderr))
    for name in ("wake_up", "first_backup", "restore_and_compare", "attack"):
        monkeypatch.setattr(f"ops.verbs.local.{name}", lambda *_: console.print("words for people"))
    done = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr("ops.verbs.local.machines", SimpleNamespace(sandbox=lambda *_: done))


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("words", RUN, ids=lambda words: " ".join(words[:2]))
def test_a_verb_that_needs_no_stack_prints_one_json_value(words: tuple[str, ...]) -> None:
    code, told = as_json(*words, "--json")
    assert code == ExitCode.OK
    document = next(
        one for verb, one in DOCUMENTS.items() if list(words[: len(verb.split())]) == verb.split()
    )
    assert isinstance(told, list) is ("list" in document.what)
    for one in told if isinstance(told, list) else [told]:
        assert document.keys == () or set(one) == set(document.keys)


def test_every_verbs_json_document_is_described() -> None:
    assert sorted(DOCUMENTS) == sorted(map(" ".join, VISIBLE))


def test_described_keys_are_keys_of_the_programs() -> None:
    folders = ("ops", "attack_drill", "sandbox", "toolchain")
    text = "".join(file.read_text() for folder in folders for file in (ROOT / folder).rglob("*.py"))
    keys = {key for one in DOCUMENTS.values() for key in one.keys}
    assert [key for key in keys if f'"{key}":' not in text] == []
    assert f'"{NO_KEY}":' not in text


@pytest.mark.parametrize("words", VISIBLE, ids=" ".join)
def test_with_json_a_usage_error_is_json_too(words: tuple[str, ...]) -> None:
    code, told = as_json(*words, "--json", "--no-such-option")
    (error,) = told["errors"]
    assert code == ExitCode.USAGE
    assert error["what"]
    assert error["where"].endswith(" ".join(words)), "the command whose words are wrong"
    assert error["fix"].endswith("--help")


def test_with_json_every_problem_is_one_of_the_errors() -> None:
    code, told = as_json(
        "status", "--stack", "a", "--kit", "b", "--storage-key", "c", "--sandbox", "d", "--json"
    )
    assert code == ExitCode.REFUSED
    assert [one["where"] for one in told["errors"]] == ["--stack, --kit", "--storage-key, --sandbox"]
    assert all(one["what"] for one in told["errors"])


def test_with_json_errors_of_sandbox_and_tools_are_json_too(tmp_path: Path) -> None:
    code, told = as_json("sandbox", "status", "--dir", str(tmp_path / "none"), "--json")
    assert (code, [*told["errors"][0]]) == (ExitCode.REFUSED, ["what", "where", "fix"])
    code, told = as_json("tools", "path", "no-such-tool", "--json")
    assert (code, [*told["errors"][0]]) == (ExitCode.REFUSED, ["what"])


def test_json_after_two_dashes_belongs_to_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("ops.verbs.agent.read_agent_keys", lambda _: [])
    monkeypatch.setattr("ops.verbs.agent.StackOptions.open", lambda _: SimpleNamespace(config=dict))
    words = ["agent", "--stack", "x", "--", "pulumi", "preview", "--json"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (ExitCode.REFUSED, "")
    code, told = as_json(*words[:3], "--json", *words[3:])
    assert (code, told["errors"][0]["what"]) == (ExitCode.REFUSED, "the settings name no key of the agent")


def test_with_json_the_engines_output_is_not_on_standard_output(
    tmp_path: Path,
) -> None:
    """By processes, since the engine writes to the file descriptor itself."""
    (tmp_path / "pulumi").write_text("#!/bin/sh\necho said by the engine\n")
    (tmp_path / "pulumi").chmod(0o755)
    code = """
import sys
from pathlib import Path
import ops.verbs.cut_off, ops.cut_off
from ops.command_line.app import app
ops.verbs.cut_off.set_cut_off = lambda source, stack, cut: stack.run("up")
app(["cut-off", "--source", "web1", "--stack", "prod", *sys.argv[1:]])
"""
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def cut_off(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    assert "said by the engine" in cut_off().stdout
    done = cut_off("--json")
    assert json.loads(done.stdout)["cutOff"] is True
    assert "said by the engine" in done.stderr


def test_help_separates_verbs_for_operators_and_developers_and_hides_earlier_names() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    listed = [EMERGENCY, "│ status", ROUTINE, "│ prune", SET_UP, "│ tools", DEVELOPERS, "│ check"]
    assert sorted(listed, key=told.index) == listed
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


def test_only_the_requested_verb_is_imported() -> None:
    code = (
        "import sys; from ops.command_line.app import app; app(['cut-off', '--help'], standalone_mode=False)\n"
        "print([one for one in sys.modules if one.startswith(('ops.verbs.', 'attack_drill', 'boto3'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['ops.verbs.cut_off']"


def test_an_error_is_printed_once_on_standard_error_with_the_exit_code_of_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LastcopyError("it is refused", where="here", allowed="there", fix="go there")

    monkeypatch.setattr("ops.aws_state.make_state_backend", refuse)
    monkeypatch.setattr("ops.verbs.aws_state.make_state_backend", refuse)
    words = ["aws-state", "--bucket", "b", "--region", "r"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (ExitCode.REFUSED, "")
    assert done.stderr == "error: it is refused\n  where:   here\n  allowed: there\n  fix:     go there\n"
    again = CliRunner().invoke(app, [*words, "--json"])
    assert (again.exit_code, again.stderr) == (ExitCode.REFUSED, done.stderr)
    problem = {"what": "it is refused", "where": "here", "allowed": "there", "fix": "go there"}
    assert json.loads(again.stdout) == {"errors": [problem]}


def test_with_json_standard_output_is_one_value_and_messages_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ops.verbs.aws_state.make_state_backend", lambda *_: ["versioning"])
    words = ["aws-state", "--bucket", "b", "--region", "r"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(done.stdout)["made"] == ["versioning"]
    assert "made: versioning" in done.stderr
    plain = CliRunner().invoke(app, words)
    assert "made: versioning" in plain.stdout, "the next verb of a process prints to standard output again"


def test_an_unknown_option_is_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["statu"])
    assert (done.exit_code, "Did you mean 'status'" in done.output) == (ExitCode.USAGE, True)


def test_an_interruption_has_its_own_exit_code_and_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.verbs.status.check_request", interrupt)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == ExitCode.INTERRUPTED
    assert "no version was deleted" in done.stderr
    code, told = as_json("status", "--json")
    assert (code, [*told["errors"][0]]) == (ExitCode.INTERRUPTED, ["what"])
    assert "no version was deleted" in told["errors"][0]["what"]


def test_an_interrupted_restore_test_is_reported_to_the_alarm_and_as_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.verbs.restore_test.run_all", interrupt)
    (tmp_path / "tell").write_text(f"#!/bin/sh\ncat >{tmp_path}/told\n")
    (tmp_path / "tell").chmod(0o755)
    words = ["--kit", "kit", "--storage-key", "key", "--on-failure", str(tmp_path / "tell")]
    code, told = as_json("restore-test", "run", *words, "--json")
    assert code == ExitCode.INTERRUPTED
    assert told["errors"][0]["what"].strip() == (tmp_path / "told").read_text().strip()
    assert "nothing is proved" in (tmp_path / "told").read_text()


def test_the_documented_exit_codes_are_those_of_the_program() -> None:
    chapter = (ROOT / "docs/commands.md").read_text().split("## Exit codes")[1].split("\n## ")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", chapter, flags=re.MULTILINE)]
    assert codes == sorted(set(map(int, ExitCode)))


COMPLETE = """
lastcopy --install-completion
. ~/.bashrc
complete -p lastcopy
completed() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _lastcopy_completion lastcopy; echo "${COMPREPLY[@]}"; }
completed lastcopy re
completed lastcopy recover rebuild --re
"""


def test_bash_completes_verbs_and_options_as_documented(tmp_path: Path) -> None:
    (tmp_path / "lastcopy").write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m ops "$@"\n')
    (tmp_path / "lastcopy").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-euc", COMPLETE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-2:] == ["recover restore-test", "--really --read-data"], done.stderr
    assert "`lastcopy --install-completion`" in (ROOT / "docs/commands.md").read_text()


def test_every_verb_has_one_name() -> None:
    names = [name for verb in VERBS for name in (verb.name, *verb.aliases)]
    assert len(names) == len(set(names))
