"""What `load_settings` adds: the engine's texts are read, and plain-text secrets and unusable key files are refused."""

from __future__ import annotations

import contextvars
import json
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.settings import Settings, SettingsError, load, load_settings
from tests.unit.settings.bad import RCLONE
from tests.unit.settings.support import KEYS, locked_private_key, private_key, stack
from tests.waiting import wait_until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh" / "backup-admin"
    key.write_text(private_key())
    key.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(load, "ROOT", tmp_path)
    monkeypatch.setattr(pulumi, "get_stack", lambda: "prod")
    return tmp_path


Load = Callable[..., Settings]


@pytest.fixture
def loaded(home: Path) -> Load:
    """Runs `load_settings` as the engine would: top-level values as text, maps and lists as JSON."""

    def run(
        raw: dict[str, Any],
        *,
        secret: tuple[str, ...] = ("storage", "sources"),
        file: object = None,
        others: dict[str, str] | None = None,
    ) -> Settings:
        if file is not None:
            (home / "stacks").mkdir(exist_ok=True)
            (home / "stacks" / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": file}))
        texts = {f"lastcopy:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in raw.items()}

        def inside() -> Settings:
            pulumi.runtime.set_all_config({**texts, **(others or {})}, [f"lastcopy:{key}" for key in secret])
            return load_settings()

        return contextvars.copy_context().run(inside)

    return run


def problems(run: Load, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        run(*args, **kwargs)
    return [(p.where.split("lastcopy:")[1], f"{p.what}\n{p.fix}") for p in caught.value.problems]


def test_the_engines_text_becomes_settings(loaded: Load) -> None:
    settings = loaded({**stack(), "protect": False})
    assert settings.protect is False
    assert [source.name for source in settings.sources] == ["web1", "db1"]


def test_declared_defaults_count_as_absent(loaded: Load) -> None:
    found = problems(
        loaded, {"environment": "", "protect": True, "admin": {}, "sandbox": {}, "sources": []}, secret=()
    )
    assert [where for where, _ in found] == ["environment", "intermediate", "storage", "sources"]


def test_unknown_top_level_keys_are_refused_but_not_those_of_other_projects(loaded: Load) -> None:
    ((where, words),) = problems(loaded, {**stack(), "source": [1]})
    assert where == "source"
    assert 'did you mean "sources"' in words
    texts = {"aws:region": "eu-central-1"}
    assert loaded(stack(), others=texts).environment == "prod"


def test_text_in_place_of_a_list_is_refused(loaded: Load) -> None:
    ((where, words),) = problems(loaded, {**stack(), "sources": "web1"})
    assert (where, words.splitlines()[0]) == ("sources", "is not a list")


def test_a_secret_below_a_key_without_any_encryption_is_refused(loaded: Load) -> None:
    raw = stack("{sources: [{password: a-Good-Repository-Password}]}")
    found = problems(loaded, raw, secret=())
    below = (
        "sources[0].identity.secretAccessKey",
        "sources[0].password",
        "sources[1].identity.secretAccessKey",
    )
    assert tuple(sorted(where for where, _ in found)) == below
    for where, words in found:
        assert "is a secret, stored in plain" in words
        assert f"pulumi config set --path --secret 'lastcopy:{where}' --stack prod" in words
        assert "a-Good-Repository-Password" not in words


def test_a_plain_secret_beside_an_encrypted_one_is_found_in_the_stack_file(loaded: Load) -> None:
    file = {f"lastcopy:{key}": value for key, value in stack().items()}
    file["lastcopy:sources"][0]["identity"]["secretAccessKey"] = {"secure": "v1:encrypted"}
    ((where, words),) = problems(loaded, stack(), file=file)
    assert where == "sources[1].identity.secretAccessKey"
    assert "stored in plain" in words
    file["lastcopy:sources"][1]["identity"]["secretAccessKey"] = {"secure": "v1:encrypted"}
    assert loaded(stack(), file=file).environment == "prod"


def test_a_key_that_is_encrypted_as_a_whole_is_accepted(loaded: Load) -> None:
    assert loaded(stack(), file={"lastcopy:sources": {"secure": "v1:encrypted"}}).environment == "prod"


def test_a_plain_rclone_section_and_private_key_are_refused(loaded: Load) -> None:
    raw = {**stack(base=RCLONE), "admin": {"privateKey": private_key()}}
    found = problems(loaded, raw, secret=())
    assert [where for where, _ in found] == ["admin.privateKey", "storage.rclone.section"]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda key: key.unlink(), "there is no such file"),
        (lambda key: key.chmod(0o644), "can be read by others"),
        (lambda key: key.write_text(KEYS["ADMIN-KEY"]), "is a public key"),
        (lambda key: key.write_text("hello"), "is not a private key in PEM form"),
        (lambda key: key.write_text(locked_private_key()), "is protected by a passphrase"),
        (
            lambda key: key.write_text(private_key()[:90] + "\n-----END OPENSSH PRIVATE KEY-----"),
            "is cut off",
        ),
        (lambda key: (key.unlink(), key.mkdir()), "is not a file"),
    ],
    ids=["missing", "mode", "public", "garbage", "passphrase", "cut", "folder"],
)
def test_a_key_file_that_would_fail_during_the_run_is_refused(
    loaded: Load, home: Path, break_it: Callable[[Path], object], words: str
) -> None:
    break_it(home / ".ssh" / "backup-admin")
    ((where, said),) = problems(loaded, stack())
    assert where == "admin.privateKeyFile"
    assert words in said


def test_a_sources_own_key_file_is_checked_too(loaded: Load) -> None:
    ((where, said),) = problems(loaded, stack("{sources: [{}, {host: {privateKeyFile: ~/.ssh/other}}]}"))
    assert where == "sources[1].host.privateKeyFile"
    assert "there is no such file" in said


def test_a_jump_hosts_key_file_is_checked_too(loaded: Load) -> None:
    jump = "{address: jump.example.com, hostKey: ADMIN-KEY, privateKeyFile: ~/.ssh/jump}"
    raw = stack(
        f"{{admin: {{jumpHost: {jump}}}, intermediate: {{existing: {{jumpHost: {jump}}}}}, sources: [{{host: {{jumpHost: {jump}}}}}]}}"
    )
    found = problems(loaded, raw)
    assert {where for where, _ in found} == {
        f"{where}.jumpHost.privateKeyFile" for where in ("admin", "intermediate.existing", "sources[0].host")
    }
    assert all("there is no such file" in said for _, said in found)


def test_the_agent_must_answer(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = stack("{admin: {privateKeyFile: REMOVED, agent: true}}")
    ((where, _),) = problems(loaded, raw)
    assert where == "admin.agent"
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as agent:
        agent.bind(f"{short}/agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", f"{short}/agent")
        ((where, _),) = problems(loaded, raw)
        assert where == "admin.agent", "it does not listen"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """A real ssh-agent. Each call makes it another key, and gives that key's public half."""
    with tempfile.TemporaryDirectory() as short:
        path = Path(short)
        monkeypatch.setenv("SSH_AUTH_SOCK", f"{short}/agent")
        process = subprocess.Popen(["ssh-agent", "-D", "-a", f"{short}/agent"], stdout=subprocess.DEVNULL)
        numbers = count()

        def another() -> str:
            key = path / f"key-{next(numbers)}"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
            subprocess.run(["ssh-add", "-q", key], check=True)
            return key.with_suffix(".pub").read_text().strip()

        try:
            wait_until((path / "agent").exists, pause=0.01)
            yield another
        finally:
            process.terminate()
            process.wait()


def with_agent(*keys: str) -> dict[str, Any]:
    raw = stack("{admin: {privateKeyFile: REMOVED, agent: true}}")
    return {**raw, "admin": {**raw["admin"], **({"agentKeys": list(keys)} if keys else {})}}


def test_of_an_agent_with_many_keys_the_right_one_must_be_named_and_within_reach(
    loaded: Load, agent: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """sshd ends a login after six wrong keys, and `pulumi up` offers all of them in the agent's order."""
    held = [agent() for _ in range(6)]
    assert loaded(with_agent()).admin.agent_keys == ()
    assert loaded(with_agent(held[5])).admin.agent_keys == (held[5],)
    assert capsys.readouterr().err == ""
    held.append(agent())
    loaded(with_agent())
    warning = capsys.readouterr().err
    assert "holds 7 keys" in warning
    assert "lastcopy:admin.agentKeys" in warning
    assert loaded(with_agent(held[5])).admin.agent is True
    found = problems(loaded, with_agent(held[5], held[6], KEYS["ADMIN-KEY"]))
    assert [where for where, _ in found] == ["admin.agentKeys[1]", "admin.agentKeys[2]"]
    assert "is key 7 of the agent" in found[0][1]
    assert "lastcopy agent --stack prod -- pulumi up" in found[0][1]
    assert "is not in the agent" in found[1][1]
    assert "ssh-add FILE" in found[1][1]
    assert capsys.readouterr().err == ""


def test_a_dead_agent_that_is_not_used_is_reported_before_every_step_fails(
    loaded: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent/agent")
    with pytest.raises(SettingsError) as caught:
        loaded(stack())
    (problem,) = caught.value.problems
    assert (problem.where, problem.fix) == ("environment variable SSH_AUTH_SOCK", "unset SSH_AUTH_SOCK")


def test_problems_of_every_kind_are_reported_together(loaded: Load, home: Path) -> None:
    (home / ".ssh" / "backup-admin").unlink()
    found = problems(loaded, {**stack("{environment: PROD}"), "colour": "red"}, secret=("storage",))
    assert [where for where, _ in found] == [
        "environment", "colour", "sources[0].identity.secretAccessKey", "sources[1].identity.secretAccessKey",
        "admin.privateKeyFile",
    ]  # fmt: skip
