"""Hosts are reached at the addresses in the stack's outputs, with the keys in its settings; ssh gets nothing of the engine's environment."""

from __future__ import annotations

import ast
import json
import stat
import sys
from pathlib import Path

import pytest

from attack_drill.attempts import hold_open
from attack_drill.connections import log_in
from attack_drill.http2 import Session
from ops.errors import LastcopyError
from ops.hosts.connection import SshEndpoint, SshHost, open_hosts
from ops.hosts.endpoints import AdminKeys, read_admin_keys, read_endpoints
from toolchain.checkout import ROOT

OUTPUTS = {
    "relay": {"address": "127.0.0.1", "port": 2222, "user": "admin", "hostKey": "ssh-ed25519 AAAAr"},
    "sources": {
        "web1": {"address": "web1.example.com", "port": 22, "user": "admin", "hostKey": "ssh-ed25519 AAAA1"},
        "db1": {"address": "10.0.0.9", "port": 22022, "user": "root", "hostKey": "ssh-ed25519 AAAA2"},
        "ext1": {"address": None, "port": None, "user": None, "hostKey": None},
    },
}
SETTINGS = {
    "admin": {"user": "ops", "privateKeyFile": "/keys/admin"},
    # Only the outputs know about an SSM session, a tunnel or a jump host.
    "intermediate": {"ec2": {"door": "ssm"}},
    "sources": [
        {"name": "web1", "host": {"address": "elsewhere.example.com"}},
        {"name": "db1", "host": {"address": "elsewhere.example.com", "privateKeyFile": "~/keys/db"}},
        {"name": "ext1", "publicKey": "ssh-ed25519 AAAA3"},
    ],
}


def test_hosts_are_reached_at_the_addresses_in_the_outputs(tmp_path: Path) -> None:
    found = read_endpoints(OUTPUTS, ["web1", "db1"], read_admin_keys(SETTINGS, tmp_path))
    assert {
        endpoint.name: (
            endpoint.user,
            endpoint.address,
            endpoint.port,
            str(endpoint.key_file),
            endpoint.host_key,
        )
        for endpoint in found
    } == {
        "relay": ("admin", "127.0.0.1", 2222, "/keys/admin", "ssh-ed25519 AAAAr"),
        "web1": ("admin", "web1.example.com", 22, "/keys/admin", "ssh-ed25519 AAAA1"),
        "db1": ("root", "10.0.0.9", 22022, str(Path("~/keys/db").expanduser()), "ssh-ed25519 AAAA2"),
    }


JUMP = {"address": "jump.example.com", "port": 2022, "user": "jumper", "hostKey": "ssh-ed25519 AAAAj"}


def test_a_jump_host_is_reached_with_its_own_key(tmp_path: Path) -> None:
    outputs = {
        "relay": {**OUTPUTS["relay"], "jumpHost": JUMP},
        "sources": {name: {**one, "jumpHost": JUMP} for name, one in OUTPUTS["sources"].items()},
    }
    settings = {
        "admin": {"privateKeyFile": "/keys/admin", "jumpHost": {"privateKeyFile": "/keys/jump"}},
        "sources": [
            {
                "name": "web1",
                "host": {"privateKeyFile": "/keys/web", "jumpHost": {"privateKeyFile": "/keys/other-jump"}},
            },
            {"name": "db1", "host": {"jumpHost": {"address": "third.example.com"}}},
        ],
    }
    found = {
        endpoint.name: endpoint
        for endpoint in read_endpoints(outputs, ["web1", "db1"], read_admin_keys(settings, tmp_path))
    }
    jumps = {name: endpoint.jump for name, endpoint in found.items() if endpoint.jump is not None}
    assert {(jump.address, jump.port, jump.user, jump.host_key) for jump in jumps.values()} == {
        tuple(JUMP.values())
    }
    assert {name: str(jump.key_file) for name, jump in jumps.items()} == {
        "relay": "/keys/jump",
        "web1": "/keys/other-jump",
        "db1": "/keys/admin",
    }
    assert str(found["web1"].key_file) == "/keys/web"
    assert len({endpoint.name for one in found.values() for endpoint in (one, one.jump) if endpoint}) == 6, (
        "each pins its own"
    )


def test_only_the_named_keys_of_an_agent_are_offered(tmp_path: Path) -> None:
    settings = {
        "admin": {"agent": True, "agentKeys": ["ssh-ed25519 AAAAo"]},
        "sources": [{"name": "web1", "host": {"privateKeyFile": "/keys/web"}}],
    }
    found = read_endpoints(
        {**OUTPUTS, "relay": {**OUTPUTS["relay"], "jumpHost": JUMP}},
        ["web1"],
        read_admin_keys(settings, tmp_path),
    )
    assert [endpoint.agent_keys for endpoint in found] == [("ssh-ed25519 AAAAo",), ()]
    assert found[0].jump is not None
    assert found[0].jump.agent_keys == ("ssh-ed25519 AAAAo",)


def test_outputs_of_an_older_program_are_an_error_that_names_the_hosts() -> None:
    old = {"relay": {"address": "r", "hostKey": "k"}, "sources": {"web1": OUTPUTS["sources"]["web1"]}}
    with pytest.raises(LastcopyError, match="relay: they were written by an older program") as raised:
        read_endpoints(old, ["web1"], AdminKeys(common=None))
    assert "pulumi up" in str(raised.value)


def test_the_agent_holds_the_key_if_there_is_no_file(tmp_path: Path) -> None:
    keys = read_admin_keys({"admin": {"agent": True}, "sources": []}, tmp_path)
    assert keys.of("relay") is None
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_the_settings_is_a_private_file_as_long_as_it_is_needed(
    tmp_path: Path,
) -> None:
    keys = read_admin_keys({"admin": {"privateKey": "-----BEGIN X-----\nab\n-----END X-----"}}, tmp_path)
    file = keys.of("relay")
    assert file is not None
    assert (file.parent, stat.S_IMODE(file.stat().st_mode)) == (tmp_path, 0o600)
    assert file.read_text().endswith("-----END X-----\n")


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a program called ssh records its environment, one file per call."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "seen").mkdir()
    program = tmp_path / "bin" / "ssh"
    program.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        f"open({str(tmp_path / 'seen')!r} + f'/{{os.getpid()}}', 'w').write(json.dumps(dict(os.environ)))\nprint('x')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for name in ("AWS_SECRET_ACCESS_KEY", "PULUMI_CONFIG_PASSPHRASE", "RCLONE_CONFIG", "RESTIC_PASSWORD"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/an/agent")
    return tmp_path / "seen"


def test_ssh_gets_the_agent_and_nothing_of_the_engines_environment(seen: Path, tmp_path: Path) -> None:
    endpoint = SshEndpoint(
        name="relay", address="r", port=22, user="root", host_key="ssh-ed25519 AAAA", key_file=None
    )
    with open_hosts([endpoint], tmp_path) as opened:
        host: SshHost = opened["relay"]
        host.run("true")
        log_in(host)
        with hold_open(host, "true"):
            pass
        Session(host.words("true")).close()
    starts = [json.loads(file.read_text()) for file in seen.iterdir()]
    assert len(starts) == 5
    for environment in starts:
        assert environment["SSH_AUTH_SOCK"] == "/an/agent"
        assert "hush" not in environment.values()


def test_every_program_that_verbs_start_for_ssh_is_given_an_environment() -> None:
    """So that none is forgotten: a call without `env` inherits the shell's secrets."""
    allowed = {  # neither ssh, restic nor rclone
        "attack_drill/engine_connection.py", "attack_drill/second_factor.py", "attack_drill/scratch_repository.py", "attack_drill/rows/a2.py",
        "ops/hosts/machines.py",
    }  # fmt: skip
    silent = []
    folders = ("attack_drill", "ops/hosts", "ops/restic", "ops/recover")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    assert allowed < {str(file.relative_to(ROOT)) for file in files}
    for file in files:
        name = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("subprocess.run", "subprocess.Popen"):  # fmt: skip
                continue
            if name not in allowed and "env" not in {one.arg for one in node.keywords}:
                silent.append(f"{name}:{node.lineno}")
    assert silent == []
