"""The engine's own home: clean, private to the checkout, and a stand-in never hides a real plugin."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from toolchain import __main__ as cli
from toolchain import engine
from toolchain.cache import Cache
from toolchain.checkout import ROOT
from toolchain.pins import load
from toolchain.toolchain import Toolchain

ENGINE = "#!/bin/sh\necho v3.260.0\n"
ALL = ("pulumi", "pulumi-language-python", "pulumi-resource-command", "pulumi-resource-random")
# the real pins, with no server and no registry available
PINS = """
[go]
oldest = "1.26.0"
free_gib = 0.01
[pulumi]
version = "3.259.0"
below = "4.0.0"
ask = "version"
[pulumi-language-python]
version = "3.259.0"
beside = "pulumi"
build = { package = "./cmd/pulumi-language-python", standin = true }
[pulumi-resource-command]
version = "1.2.1"
plugin = "command"
ask = "--version"
build = { package = "./cmd/pulumi-resource-command", standin = true }
[pulumi-resource-random]
version = "4.21.4"
plugin = "random"
ask = "--version"
build = { package = "./cmd/pulumi-resource-random", standin = true }
"""


@pytest.fixture
def b(bench):
    made = bench()
    made.with_go()
    made.program("pulumi", ENGINE)
    made.pins_file = lambda: made.tmp / "versions.toml"
    made.pins_file().write_text(PINS)
    return made


@pytest.fixture
def root(tmp_path):
    (tmp_path / "check out").mkdir()
    return tmp_path / "check out"


def user_plugin(b, name, version):
    return b.program(
        f"pulumi-resource-{name}", "#!/bin/sh\n", b.home / f".pulumi/plugins/resource-{name}-v{version}"
    )


def test_standins_are_used_in_the_checkouts_own_home_and_announced(b, root, capsys):
    env = engine.local_environment(b.toolchain(), root)
    plugins = root / ".local/pulumi/plugins"
    assert env["PULUMI_HOME"] == str(plugins.parent)
    assert sorted(str(path.relative_to(plugins)) for path in plugins.rglob("pulumi-*")) == [
        "resource-command-v1.2.1/pulumi-resource-command",
        "resource-random-v4.21.4/pulumi-resource-random",
    ]
    assert all(os.access(path, os.X_OK) for path in plugins.rglob("pulumi-*"))
    assert not (b.home / ".pulumi").exists()
    said = [line for line in capsys.readouterr().err.splitlines() if "stand-ins from" in line]
    assert len(said) == 1
    assert said[0].endswith(", ".join(ALL[1:]))


def test_a_real_plugin_of_the_users_engine_takes_precedence(b, root):
    real = user_plugin(b, "command", "1.2.1")
    tool = b.toolchain().ensure("pulumi-resource-command")["pulumi-resource-command"]
    assert (tool.origin, tool.path) == ("pulumi plugins", real)
    engine.local_environment(b.toolchain(), root)
    assert (root / ".local/pulumi/plugins/resource-command-v1.2.1/pulumi-resource-command").resolve() == real


@pytest.mark.parametrize("flaw", ["another version", "half downloaded"])
def test_an_unsuitable_plugin_of_the_users_engine_is_not_used(b, flaw):
    real = user_plugin(b, "command", "1.2.0" if flaw == "another version" else "1.2.1")
    if flaw == "half downloaded":
        real.parent.with_name(real.parent.name + ".partial").touch()
    assert b.toolchain().ensure("pulumi-resource-command")["pulumi-resource-command"].origin == "stand-in"


def test_a_real_plugin_that_appears_later_replaces_the_standin(b, root):
    engine.local_environment(b.toolchain(), root)
    real = user_plugin(b, "random", "4.21.4")
    engine.local_environment(b.toolchain(), root)
    assert (root / ".local/pulumi/plugins/resource-random-v4.21.4/pulumi-resource-random").resolve() == real


@pytest.mark.parametrize(("version", "origin"), [("4.21.4", "PATH"), ("4.21.5", "stand-in")])
def test_a_plugin_on_path_must_have_the_exact_version(b, version, origin):
    b.program("pulumi-resource-random", f"#!/bin/sh\necho {version}\n")
    assert b.toolchain().ensure("pulumi-resource-random")["pulumi-resource-random"].origin == origin


def test_a_changed_standin_is_built_again_and_its_tests_do_not_count(b):
    name = "pulumi-resource-command"
    first = b.toolchain().ensure(name)[name]
    (b.tmp / "standins/main_test.go").write_text("package main\n")
    assert b.toolchain().ensure(name)[name] == first
    (b.tmp / "standins/main.go").write_text("package main // edited\n")
    assert b.toolchain().ensure(name)[name].path != first.path
    assert b.builds() == 2


def test_standins_of_older_sources_do_not_accumulate(b):
    name = "pulumi-resource-command"
    folders = []
    for text in ("a", "b", "c"):
        (b.tmp / "standins/main.go").write_text(text)
        folders.append(b.toolchain().ensure(name)[name].path.parent)
        if text == "a":
            os.utime(folders[0], (time.time() - 90000,) * 2)
    assert [folder.exists() for folder in folders] == [False, True, True]


def test_after_a_day_the_toolchain_looks_for_the_real_plugin_again(b, monkeypatch):
    name = "pulumi-resource-command"
    tool = b.toolchain().ensure(name)[name]
    looked = []
    monkeypatch.setattr(Toolchain, "_official", lambda self, pin: looked.append(pin.name) or self._built(pin))
    b.toolchain().ensure(name)
    assert looked == []
    origin = tool.path.parent / "origin"
    os.utime(origin, (time.time() - 90000,) * 2)
    b.toolchain().ensure(name)
    b.toolchain().ensure(name)
    assert looked == [name]
    assert b.builds() == 1


def test_the_language_host_comes_with_its_engine(b):
    real = b.program("pulumi-language-python", "#!/bin/sh\n")
    tool = b.toolchain().ensure("pulumi-language-python")["pulumi-language-python"]
    assert (tool.origin, tool.path) == ("PATH", real)
    b.program("pulumi", "#!/bin/sh\necho v3.1.0\n")  # too old, and so is the language host that came with it
    assert b.toolchain().ensure("pulumi-language-python")["pulumi-language-python"].origin == "stand-in"


def test_the_language_host_of_the_official_archive_works_with_its_engine(b):
    (b.bin / "pulumi").unlink()
    staged = b.tmp / "staged"
    b.program("pulumi", ENGINE, staged)
    b.program("pulumi-language-python", "#!/bin/sh\n", staged)
    Cache(b.cache).install(staged, "pulumi", "3.259.0", "official release")
    tool = b.toolchain().ensure("pulumi-language-python")["pulumi-language-python"]
    assert (tool.origin, tool.path.parent.name) == ("official release", "3.259.0")


@pytest.mark.parametrize("host", ["beside", "stand-in"])
def test_the_engine_finds_its_language_host_beside_its_own_file(b, root, host):
    if host == "beside":
        b.program("pulumi-language-python", "#!/bin/sh\n")
    for _ in range(2):
        env = engine.local_environment(b.toolchain(), root)
        private = env["PATH"].split(":")[0]
        assert private == str(root / ".local/bin")
        folder = Path(private, "pulumi").resolve().parent  # where the engine looks
        assert os.access(folder / "pulumi-language-python", os.X_OK)
    assert subprocess.check_output([f"{private}/pulumi"], text=True) == "v3.260.0\n"
    assert sorted(path.name for path in Path(private).iterdir()) == [
        ".made-by-lastcopy",
        "pulumi",
        "pulumi-language-python",
    ]


def test_a_newer_engine_replaces_the_installed_one(b, root):
    engine.local_environment(b.toolchain(), root)
    (b.bin / "pulumi").unlink()
    b.program("pulumi", ENGINE.replace("260", "261"))
    env = engine.local_environment(b.toolchain(), root)
    assert subprocess.check_output(["pulumi"], env=env, text=True) == "v3.261.0\n"


def test_the_environment_contains_nothing_of_the_caller_that_could_be_used_or_leaked(b, root):
    leftovers = {
        "AWS_ACCESS_KEY_ID": "x", "AWS_CA_BUNDLE": "x", "RCLONE_CONFIG": "x", "RESTIC_PASSWORD": "x",
        "SSH_AUTH_SOCK": "x", "PULUMI_ACCESS_TOKEN": "x", "PULUMI_CONFIG_PASSPHRASE": "x",
    }  # fmt: skip
    b.environ |= {**leftovers, "LANG": "C.UTF-8"}
    b.environ["PATH"] = f".:relative::{b.environ['PATH']}"
    env = engine.local_environment(b.toolchain(), root)
    assert not leftovers.keys() & env.keys()
    assert env["LANG"] == "C.UTF-8"
    assert all(entry.startswith("/") for entry in env["PATH"].split(":"))
    assert env["PATH"].split(":")[1] == str(Path(sys.executable).parent)
    assert env["PULUMI_BACKEND_URL"] == f"file://{str(root).replace(' ', '%20')}/.local/state?metadata=skip"
    assert {env["PULUMI_SKIP_UPDATE_CHECK"], env["PULUMI_IGNORE_AMBIENT_PLUGINS"]} == {"true"}


def test_a_shell_gets_the_engine_and_keeps_its_backend_secrets_provider_credentials_and_login(b, root):
    """It once was pointed at the checkout's own state, and lost its session with AWS (docs/aws.md, step 3)."""
    b.environ |= {
        "AWS_SESSION_TOKEN": "x",
        "PULUMI_BACKEND_URL": "s3://state",
        "PULUMI_CONFIG_PASSPHRASE": "x",
    }
    added = engine.shell_additions(b.toolchain(), root)
    assert sorted(added) == [
        "PATH",
        "PULUMI_HOME",
        "PULUMI_IGNORE_AMBIENT_PLUGINS",
        "PULUMI_SKIP_UPDATE_CHECK",
    ]
    assert added["PATH"].split(":")[0] == str(root / ".local/bin")
    assert not (root / ".local/state").exists()
    assert not (root / ".local/passphrase").exists()


def test_a_shell_whose_own_pulumi_is_complete_is_not_changed(b, root):
    b.program("pulumi-language-python", "#!/bin/sh\n")
    user_plugin(b, "command", "1.2.1")
    user_plugin(b, "random", "4.21.4")
    assert engine.shell_additions(b.toolchain(), root) == {}
    assert not (root / ".local").exists()
    assert engine.local_environment(b.toolchain(), root)["PULUMI_HOME"] == str(root / ".local/pulumi")


@pytest.mark.parametrize("local", [False, True])
def test_the_lines_to_eval_replace_a_shells_settings_only_for_the_local_stack(
    b, root, local, monkeypatch, capsys
):
    b.environ |= {"AWS_SESSION_TOKEN": "x", "PULUMI_BACKEND_URL": "s3://state"}
    monkeypatch.setattr(cli, "ROOT", root)
    monkeypatch.setattr(cli, "Toolchain", b.toolchain)
    assert cli.app(["env", *(["--local"] if local else [])], standalone_mode=False) is None
    lines = capsys.readouterr().out.splitlines()
    assert ("unset AWS_SESSION_TOKEN" in lines) is local
    assert any(line.startswith("export PULUMI_BACKEND_URL=") for line in lines) is local
    assert any(line.startswith("export PULUMI_HOME=") for line in lines)


@pytest.mark.parametrize("state", ["answers", "nobody answers", "gone"])
def test_an_ssh_agent_is_kept_only_if_it_answers(b, root, state):
    # Not in tmp_path: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as agent:
        path = Path(short, "agent")
        agent.bind(str(path))
        if state == "answers":
            agent.listen()
        if state == "gone":
            path.unlink()
        b.environ |= {"SSH_AUTH_SOCK": str(path), "SSH_AGENT_PID": "1"}
        env = engine.local_environment(b.toolchain(), root)
    assert env.get("SSH_AUTH_SOCK") == (str(path) if state == "answers" else None)
    assert "SSH_AGENT_PID" not in env


def test_the_passphrase_is_random_private_and_kept(b, root, tmp_path):
    passphrase = root / ".local/passphrase"
    env = engine.local_environment(b.toolchain(), root)
    first = passphrase.read_text()
    assert env["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(passphrase)
    assert len(first) >= 40
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert {stat.S_IMODE((root / ".local" / name).stat().st_mode) for name in ("state", "pulumi")} == {0o700}
    passphrase.chmod(0o644)
    engine.local_environment(b.toolchain(), root)
    assert (passphrase.read_text(), stat.S_IMODE(passphrase.stat().st_mode)) == (first, 0o600)
    engine.local_environment(b.toolchain(), tmp_path)
    assert (tmp_path / ".local/passphrase").read_text() != first
    assert sorted(path.name for path in (root / ".local").iterdir()) == [
        "bin",
        "passphrase",
        "pulumi",
        "state",
    ]


def test_in_its_own_environment_the_checkouts_engine_is_not_taken_for_the_users(b, root):
    env = engine.local_environment(b.toolchain(), root)
    inner = Toolchain(load(b.pins_file()), {**env, "LASTCOPY_CACHE": str(b.cache)}, b.tmp).ensure(*ALL)
    assert [inner[name].origin for name in ALL] == ["PATH", "stand-in", "stand-in", "stand-in"]
    assert inner["pulumi"].path == b.bin / "pulumi"


def test_no_part_of_the_product_refers_to_the_standins():
    """They are for checkouts without the official parts; only the toolchain builds them (toolchain/standins/README.md)."""
    root = ROOT
    product = [
        file
        for folder in ("components", "ops", "attack_drill", "policy")
        for file in (root / folder).rglob("*")
    ]
    texts = [file for file in product if file.suffix in ("", ".py", ".sh") and file.is_file()]
    assert len(texts) > 200
    assert [str(file) for file in texts if "standins" in file.read_text(errors="replace")] == []
