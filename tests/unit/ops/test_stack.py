"""A verb works on the stack that `pulumi` itself would use in the same shell; with `--sandbox`, on the checkout's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

import toolchain
from ops.__main__ import app
from ops.stack import LocalStack, Stack, StackError, choose_stack
from tests.unit.fake_engine import FakeEngine
from toolchain.checkout import ROOT

SHELL = {
    "PULUMI_BACKEND_URL": "s3://someones-state?region=eu-central-1",
    "PULUMI_CONFIG_PASSPHRASE_FILE": "/someones/passphrase",
    "PULUMI_HOME": "/someones/home",
    "AWS_PROFILE": "someone",
    "AWS_SESSION_TOKEN": "a-session",
}
# Every verb that takes a stack, with its other required options.
VERBS = {
    "status": ("status", "--storage-key", "KEY"),
    "recover look": ("recover", "look", "--source", "web1", "--storage-key", "KEY"),
    "recover restore": ("recover", "restore", "--source", "web1", "--storage-key", "KEY", "--target", "NEW"),
    "recover rebuild": ("recover", "rebuild", "--source", "web1", "--storage-key", "KEY"),
    "prune": ("prune", "--source", "web1", "--storage-key", "KEY"),
    "restore-drill": ("restore-drill", "run", "--storage-key", "KEY", "--scratch", "HERE"),
    "kit": ("kit", "write", "--out", "NEW", "--passphrase-file", "PHRASE"),
    "cut-off": ("cut-off", "--source", "web1"),
    "let-in": ("let-in", "--source", "web1"),
    "drill": ("drill",),
    "cost": ("cost", "--data-gib", "1", "--change-gib-per-day", "1"),
}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    # Not tested here, and it may have to be built.
    monkeypatch.setattr("ops.restic.repository.Tools.get", classmethod(lambda _: None))
    return FakeEngine(tmp_path / "engine", monkeypatch)


def words_of(verb: str, tmp_path: Path) -> list[str]:
    files = {"KEY": "AWS_ACCESS_KEY_ID=EXAMPLE\nAWS_SECRET_ACCESS_KEY=a-secret-key\n", "PHRASE": "six random words of a person\n"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text)
    places = {name: str(tmp_path / name) for name in ("KEY", "PHRASE", "NEW")} | {"HERE": str(tmp_path)}
    return [places.get(word, word) for word in VERBS[verb]]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("named", [True, False], ids=["named", "selected"])
def test_every_verb_asks_the_shells_own_pulumi(
    verb: str, named: bool, engine: FakeEngine, tmp_path: Path
) -> None:
    """They once looked into the checkout's own state, whatever the shell said."""
    engine.answer(
        {
            "stack --show-name": "prod",
            "stack output": (1, "error: no stack named 'prod' found"),
            "config --json": (1, "error: no stack named 'prod' found"),
        }
    )
    done = CliRunner().invoke(app, [*words_of(verb, tmp_path), *(["--stack", "prod"] if named else [])])
    assert (done.exit_code, "there is no stack prod" in done.output) == (1, True), done.output
    calls = engine.calls()
    assert calls.pop().words[:2] == ["stack", "ls"], "the error lists the existing ones"
    assert calls[-1].words[:2] in (["stack", "output"], ["config", "--json"])
    assert calls[-1].words[calls[-1].words.index("--stack") + 1] == "prod"
    assert {one.cwd for one in calls} == {str(ROOT)}
    for one in calls:
        assert {name: one.environment.get(name) for name in SHELL} == SHELL
    assert "where:   --stack, in backend s3://someones-state" in done.output


def test_with_a_sandbox_the_stack_is_the_checkouts_own(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"PATH": str(engine.folder / "bin"), "PULUMI_BACKEND_URL": "file:///checkout/.local/state"}
    monkeypatch.setattr(toolchain, "engine_environment", lambda _: own)
    engine.answer({"stack output": {"relay": {}}})
    made = choose_stack(ROOT, None, sandbox=tmp_path / ".local" / "sandbox" / "local")
    assert isinstance(made, LocalStack)
    assert made.outputs() == {"relay": {}}
    (call,) = engine.calls()
    assert call.words == ["stack", "output", "--json", "--stack", "local"]
    assert call.environment.items() >= own.items()
    assert not SHELL.keys() & (call.environment.keys() - own.keys())


def test_without_an_engine_on_path_the_toolchains_is_used_with_the_shells_own_backend(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"PATH": str(engine.folder / "bin"), "PULUMI_HOME": "/checkout/.local/pulumi"}
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "engine_for_shell", lambda _: parts)
    assert Stack.of_shell(ROOT, "prod").environment.items() >= (SHELL | parts).items()


def test_without_an_engine_and_a_name_nothing_is_fetched_and_the_fix_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(_: Path) -> dict[str, str]:
        raise AssertionError("minutes of building, for a person who forgot a word")

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    monkeypatch.setattr(toolchain, "engine_for_shell", never)
    with pytest.raises(StackError, match="--stack"):
        Stack.of_shell(ROOT)


def test_an_unavailable_engine_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_: Path) -> Mapping[str, str]:
        raise toolchain.ToolError("pulumi is needed and could not be had:")

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(toolchain, "engine_for_shell", cannot)
    with pytest.raises(StackError, match="no `pulumi` on PATH"):
        Stack.of_shell(ROOT, "prod")


def test_a_full_name_is_passed_on_whole_and_its_last_part_is_the_stacks_own(engine: FakeEngine) -> None:
    made = Stack.of_shell(ROOT, "acme/lastcopy/prod")
    assert (made.short_name, made.file) == ("prod", ROOT / "stacks" / "Pulumi.prod.yaml")
    made.run("whoami", quiet=True)
    made.up(quiet=True)
    assert engine.calls()[1].words[:3] == ["up", "--stack", "acme/lastcopy/prod"]


def test_settings_are_the_engines_own_reading_of_the_given_file(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine.answer(
        {
            "config --json": {
                "lastcopy:protect": {"value": "true", "secret": False},
                "lastcopy:sources": {"value": "[]", "objectValue": [{"name": "web1"}], "secret": True},
                "aws:region": {"value": "eu-central-1", "secret": False},
            }
        }
    )
    made = Stack.of_shell(ROOT, "prod", Path("other.yaml"))
    assert made.config() == {"protect": "true", "sources": [{"name": "web1"}]}
    (call,) = engine.calls()
    assert "--show-secrets" in call.words
    assert call.words[-2:] == ["--config-file", str(tmp_path / "other.yaml")], (
        "the engine runs in another folder"
    )


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("file:///srv/state?metadata=skip", "file:///srv/state"),
        ("postgres://admin:hush@db/state", "whoami"),
        ("", "whoami"),
    ],
)
def test_an_error_names_the_backend_without_its_password(
    backend: str, told: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", backend)
    engine.answer({"stack output": (6, "error: no stack named 'prod' found")})
    with pytest.raises(StackError) as raised:
        Stack.of_shell(ROOT, "prod").outputs()
    assert told in str(raised.value)
    assert "hush" not in str(raised.value)


def test_the_keys_to_the_hosts_are_read_from_the_given_settings(engine: FakeEngine, tmp_path: Path) -> None:
    """Of the verbs that read the storage only `status --hosts` needs settings; the others read only outputs."""
    engine.answer(
        {"stack output": {"sources": {"web1": {"managed": True}}}, "config --json": (1, "error: read")}
    )
    file = tmp_path / "other.yaml"
    words = [*words_of("status", tmp_path), "--hosts", "--stack", "prod", "--config-file", str(file)]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "error: read" in done.output) == (1, True), done.output
    assert engine.calls()[-1].words[-2:] == ["--config-file", str(file)]


# cut-off


def settings_file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return file


SOURCES = [{"name": "web1"}, {"name": "db1", "cutOff": True}]
IN_FILE = "config:\n  lastcopy:sources: [{name: web1}, {name: db1, cutOff: true}]\n"


def switched(engine: FakeEngine, file: Path, source: str, verb: str) -> tuple[int, str, list[list[str]]]:
    done = CliRunner().invoke(
        app, [verb, "--source", source, "--stack", "acme/lastcopy/prod", "--config-file", str(file)]
    )
    return done.exit_code, done.output, [one.words for one in engine.calls()]


@pytest.mark.parametrize(
    ("verb", "source", "change"),
    [
        ("cut-off", "web1", ["set", "lastcopy:sources[0].cutOff", "true"]),
        ("let-in", "db1", ["rm", "lastcopy:sources[1].cutOff"]),
        ("cut-off", "db1", None),  # it is already: only what a killed run left is done
    ],
)
def test_a_cut_off_changes_the_given_settings_and_only_the_relay(
    verb: str, source: str, change: list[str] | None, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.config(sources=SOURCES)
    file = settings_file(tmp_path, IN_FILE)
    code, said, calls = switched(engine, file, source, verb)
    assert code == 0, said
    given = ["--stack", "acme/lastcopy/prod", "--config-file", str(file)]
    changes = [words for words in calls if words[0] == "config" and words[1] in ("set", "rm")]
    assert changes == ([["config", change[0], *given, "--path", *change[1:]]] if change else [])
    assert calls[-1][: 1 + len(given)] == ["up", *given]
    assert calls[-1][-2:] == ["--target", f"urn:pulumi:prod::**::{source}-enrolment-entry*"]
    assert " ".join(given) in said.replace("\n", " "), "the way back works on the same stack"


@pytest.mark.parametrize("text", [None, "config: {}\n", "environment: [backups/prod]\n"])
def test_a_list_of_sources_from_an_environment_is_not_hidden_by_a_cut_off(
    text: str | None, engine: FakeEngine, tmp_path: Path
) -> None:
    """`pulumi config set` would put a list of one into the file, and the engine would take that for all of them."""
    engine.config(sources=SOURCES)
    file = settings_file(tmp_path, text) if text is not None else tmp_path / "none.yaml"
    code, said, calls = switched(engine, file, "web1", "cut-off")
    assert (code, "comes from an environment" in said) == (1, True)
    assert [words[:2] for words in calls] == [["config", "--json"]]
    # What was set there is brought to the relay.
    assert switched(engine, file, "db1", "cut-off")[0] == 0
    assert engine.calls()[-1].words[0] == "up"


def test_a_missing_source_changes_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    engine.config(sources=SOURCES)
    code, said, calls = switched(engine, settings_file(tmp_path, IN_FILE), "web9", "cut-off")
    assert (code, "one of: web1, db1" in said, len(calls)) == (1, True, 1)


def test_cost_reads_the_stack_by_the_engine(engine: FakeEngine) -> None:
    engine.config(
        aws={"region": "eu-central-1"}, intermediate={"ec2": {"adminPublicKey": KEY, "adminsFrom": ["203.0.113.0/24"], "sourcesFrom": ["198.51.100.0/24"]}},
        storage={}, sources=[{"name": "web1"}],
    )  # fmt: skip
    done = CliRunner().invoke(
        app, ["cost", "--stack", "prod", "--data-gib", "1", "--change-gib-per-day", "1"]
    )
    assert done.exit_code == 0, done.output
    assert "prod in eu-central-1" in done.output
    assert engine.calls()[0].words[:2] == ["config", "--json"]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
