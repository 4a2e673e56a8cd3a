"""command:remote:Command: what runs when, over which connection, and which parts of it are shown and stored."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.hosts.filtered_agent import serve_filtered_agent
from tests.waiting import wait_until

from .sshd import CURVE, SNTRUP, Sshd, make_key
from .stack import Stack

LIFE = """
step("full", stdin=given.get("stdin", "1"), triggers=[given.get("trigger", 1)],
     create=f"echo create $(cat) >> {there}/full", update=f"echo update $(cat) >> {there}/full",
     delete=given.get("delete", f"echo delete $(cat) >> {there}/full"))
step("bare", stdin=given.get("stdin", "1"), create=f"echo create $(cat) >> {there}/bare")
"""


def lines(path: Path) -> list[str]:
    """What the commands have written since the last call."""
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_a_change_runs_update_or_else_create_and_only_triggers_replace(
    stack: Stack, sshd: Sshd, there: Path
) -> None:
    full, bare = there / "full", there / "bare"
    stack.up(LIFE)
    assert (lines(full), lines(bare)) == (["create 1"], ["create 1"])
    stack.unchanged()

    told = stack.up(LIFE, {"stdin": "2"})
    assert (lines(full), lines(bare)) == (["update 2"], ["create 2"])
    assert "~ 2 updated" in told

    told = stack.up(LIFE, {"stdin": "2", "delete": f"echo gone $(cat) >> {full}"})
    assert (lines(full), lines(bare)) == (["update 2"], []), "a change of any input is an update"

    told = stack.up(LIFE, {"stdin": "3", "delete": f"echo gone $(cat) >> {full}", "trigger": 2})
    assert lines(full) == ["create 3", "gone 2"], (
        "first the new command, then the old one's delete with its stdin"
    )
    assert "+-1 replaced" in told
    assert lines(bare) == ["create 3"]
    stack.unchanged()

    before = sshd.logins()
    stack.pulumi("destroy", "--yes")
    assert (lines(full), lines(bare)) == (["gone 3"], [])
    assert sshd.logins() == before + 1, "without delete there is no connection"


def test_a_changed_connection_is_an_update_and_delete_uses_the_recorded_connection(
    stack: Stack, there: Path
) -> None:
    program = """
    step("it", connection(host=given["host"]),
         create=f"echo up >> {there}/it", delete=f"echo down >> {there}/it")
    """
    stack.up(program, {"host": "127.0.0.1"})
    assert "~ 1 updated" in stack.up(program, {"host": "localhost"})
    stack.up("pass", {"port": 1, "key": "none", "host_key": "none"})
    assert lines(there / "it") == ["up", "up", "down"]


SECRET = "swordfish-not-to-be-seen"

PRIVATE = """
careful = dict(logging=remote.Logging.NONE,
               opts=pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"]))
step("kept", stdin=secret(given["secret"]), create=f"tee {there}/kept", **careful)
step("failing", stdin=secret(given["secret"]), delete=f"touch {there}/deleted",
     create="cat >/dev/null; echo one line; echo another >&2; exit 3")
"""


def test_a_secret_on_stdin_is_not_in_output_state_or_error(stack: Stack, there: Path) -> None:
    told = stack.fails(PRIVATE, {"secret": SECRET})
    assert (there / "kept").read_text() == SECRET
    assert SECRET not in told + stack.state()
    assert stack.given["key"].splitlines()[1] not in told + stack.state(), "a connection is always secret"
    assert 'Process exited with status 3: running "cat >/dev/null; echo one line' in told
    assert "one line" in told.split("running", 1)[1]
    assert "another" in told.split("running", 1)[1]

    assert "kept" in stack.resources()
    assert "failing" not in stack.resources(), "a failed create leaves no resource"
    stack.pulumi("destroy", "--yes")
    assert not (there / "deleted").exists(), "a failed create runs no delete"


def test_sabotage_a_careless_step_is_caught_by_the_same_check(stack: Stack) -> None:
    told = stack.up("""step("open", stdin=given["secret"], create="cat; echo")""", {"secret": SECRET})
    assert SECRET in told, "the output of a command is logged by default"
    assert SECRET in stack.state(), "a plain value stays plain"


def test_only_a_server_with_the_pinned_host_key_gets_the_command(
    stack: Stack, there: Path, new_sshd: Callable[..., Sshd]
) -> None:
    impostor = new_sshd()
    impostor.start()
    stack.given["port"] = impostor.port
    program = """
    step("it", connection() if given["pin"] else connection(host_key=None), create=f"touch {there}/it")
    """
    told = stack.fails(program, {"pin": True})
    assert "after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch" in told
    assert not (there / "it").exists()
    assert impostor.logins() == 0

    told = stack.fails(program, {"pin": True, "host_key": "ssh-ed25519 nonsense"})
    assert "failed to parse host key" in told

    # Sabotage: without the pin the impostor gets the command.
    stack.up(program, {"pin": False})
    assert (there / "it").exists()


def test_a_connection_is_tried_again_up_to_the_limit(stack: Stack, new_sshd: Callable[..., Sshd]) -> None:
    program = """
    step("it", connection(dial_error_limit=given["limit"]), create="true")
    """
    told = stack.fails(program, {"port": 1, "limit": 2})
    assert "after 2 failed attempts: dial tcp 127.0.0.1:1: connect: connection refused" in told
    assert "Dial 1/2 failed: retrying" in told
    assert "Dial 2/2 failed: retrying" in told

    late = new_sshd()
    gate = socket.create_server(("127.0.0.1", late.port))
    gate.settimeout(60)

    def turn_the_first_away() -> None:
        """Reject the first connection, and only then start the server."""
        with gate:
            gate.accept()[0].close()
        late.start()

    starter = threading.Thread(target=turn_the_first_away)
    starter.start()
    try:
        told = stack.up(program, {"port": late.port, "host_key": late.host_key, "limit": 10})
    finally:
        starter.join()
    assert "Dial 1/10 failed: retrying" in told


@pytest.mark.parametrize(("kex", "meets"), [(CURVE, True), (SNTRUP, False)])
def test_key_exchanges_are_those_of_the_official_plugins_library(
    stack: Stack, new_sshd: Callable[..., Sshd], kex: str, meets: bool
) -> None:
    hardened = new_sshd(kex=kex)
    hardened.start()
    program = """step("it", create="true")"""
    given = {"port": hardened.port, "host_key": hardened.host_key}
    if meets:
        stack.up(program, given)
        return
    told = stack.fails(program, given)
    assert "no common algorithm for key exchange" in told
    for offered in ("mlkem768x25519-sha256", CURVE):
        assert offered in told


@contextmanager
def ssh_agent(socket: Path, *keys: Path) -> Iterator[Path]:
    """OpenSSH's own agent, which offers the keys in this order."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, pause=0.02)
        subprocess.run(["ssh-add", "-q", *keys], env={"SSH_AUTH_SOCK": str(socket)}, check=True)
        yield socket
    finally:
        agent.terminate()
        agent.wait()


def test_every_kind_of_connection_works(stack: Stack, keys: Path, there: Path) -> None:
    """An encrypted key, an agent, a jump through a proxy, an IPv6 address."""
    with ssh_agent(there / "agent.sock", keys / "plain"):
        stack.up(
            """
            locked = connection(private_key=given["locked"], private_key_password="open sesame")
            agent = connection(private_key=None, agent_socket_path=f"{there}/agent.sock")
            proxy = remote.ProxyConnectionArgs(host="127.0.0.1", port=given["port"], user=given["user"],
                                               private_key=given["key"], host_key=given["host_key"])
            ipv6 = connection(host="::1")
            ipv6_proxy = connection(host="::1", proxy=proxy)
            ways = dict(locked=locked, agent=agent, proxy=connection(proxy=proxy), ipv6=ipv6, ipv6_proxy=ipv6_proxy)
            for name, way in ways.items():
                step(name, way, create=f"touch {there}/{name}")
            """,
            {"locked": (keys / "locked").read_text()},
        )
    for name in ("locked", "agent", "proxy", "ipv6", "ipv6_proxy"):
        assert (there / name).exists(), name

    dead = str(there / "nothing-here")
    told = stack.fails("""step("it", create="true")""", change={"SSH_AUTH_SOCK": dead})
    assert f"dial unix {dead}" in told, "an agent socket without an agent is an error"


def test_the_server_accepts_six_keys_of_an_agent(stack: Stack, keys: Path, there: Path) -> None:
    """Every key is offered, in the agent's order. A given private key comes first; `lastcopy agent` shows only the named keys."""
    others = [there / f"other-{number}" for number in range(6)]
    for other in others:
        make_key(other)
    plain, public = keys / "plain", (keys / "plain.pub").read_text().strip()
    with (
        ssh_agent(there / "sixth", *others[1:], plain) as sixth,
        ssh_agent(there / "seventh", *others, plain) as seventh,
        serve_filtered_agent([public], str(seventh)) as named,
    ):
        stack.program(
            """
            for name, socket in given["agents"].items():
                key = given["key"] if name == "given" else None
                step(name, connection(private_key=key, agent_socket_path=socket), create=f"touch {there}/came-{name}")
            """,
            {
                "agents": {
                    "sixth": str(sixth),
                    "seventh": str(seventh),
                    "given": str(seventh),
                    "named": str(named),
                }
            },
        )
        done = stack.pulumi("up", "--yes", "--skip-preview", "--continue-on-error", check=False)
    assert done.returncode != 0
    assert "Too many authentication failures" in done.stdout
    came = sorted(path.name.removeprefix("came-") for path in there.glob("came-*"))
    assert came == ["given", "named", "sixth"], done.stdout


BEHIND = """
def through(port, key):
    return remote.ProxyConnectionArgs(host="127.0.0.1", port=port, user=given["user"], private_key=given["key"], host_key=key,
                                      dial_error_limit=0)
right = through(given["jump"], given["jump_key"])
step("right", connection(proxy=right), create=f"touch {there}/right")
step("false-jump", connection(proxy=through(given["false_jump"], given["jump_key"])), create=f"touch {there}/wrong")
step("false-host", connection(proxy=right, port=given["false_host"]), create=f"touch {there}/wrong")
"""


def test_a_jump_host_and_the_host_behind_it_are_both_pinned(
    stack: Stack, sshd: Sshd, there: Path, new_sshd: Callable[..., Sshd]
) -> None:
    """As components/host/configured_host.py connects: the inner login is end to end, and a host with another key gets none."""
    jump, false_jump, false_host = new_sshd(), new_sshd(), new_sshd()
    for server in (jump, false_jump, false_host):
        server.start()
    given = {
        "jump": jump.port,
        "jump_key": jump.host_key,
        "false_jump": false_jump.port,
        "false_host": false_host.port,
    }
    before = sshd.logins()
    stack.program(BEHIND, given)
    done = stack.pulumi("up", "--yes", "--skip-preview", "--continue-on-error", check=False)
    assert done.returncode != 0
    assert "proxy: after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch" in done.stdout
    assert done.stdout.count("ssh: handshake failed: ssh: host key mismatch") >= 2
    assert sorted(path.name for path in there.iterdir()) == ["right"]
    assert {"right", "false-jump", "false-host"} & set(stack.resources()) == {"right"}
    logins = [server.logins() for server in (sshd, jump, false_jump, false_host)]
    assert logins == [before + 1, 2, 0, 0]


def test_environment_variables_need_the_servers_consent(stack: Stack) -> None:
    program = """
    it = step("it", environment={"LASTCOPY_TEST": given["value"]},
              create='echo "$LASTCOPY_TEST after ${PULUMI_COMMAND_STDOUT-nothing}"; echo noise >&2')
    pulumi.export("it", it.stdout)
    quiet = step("quiet", add_previous_output_in_env=False, stdin=given["value"],
                 create='echo "after ${PULUMI_COMMAND_STDOUT-nothing}"')
    pulumi.export("quiet", quiet.stdout)
    """
    stack.up(program, {"value": "a"})
    assert stack.outputs() == {"it": "a after nothing", "quiet": "after nothing"}
    told = stack.up(program, {"value": "b"})
    assert stack.outputs() == {"it": "b after a after nothing", "quiet": "after nothing"}
    assert "Unable to set 'PULUMI_COMMAND_STDERR'" in told, (
        "refused, so there is a warning, and the command runs anyway"
    )
    told = stack.fails("""step("it", environment={"OTHER": "x"}, create="true")""")
    assert 'could not set environment variable "OTHER": ssh: setenv failed' in told


def test_logging_shows_what_was_asked_for_and_outputs_contain_everything(stack: Stack) -> None:
    told = stack.up("""
    for mode in [None, *remote.Logging]:
        name = mode.value if mode else "default"
        it = step(name, logging=mode, create=f"echo out-{name}; echo; echo err-{name} >&2")
        pulumi.export(name, pulumi.Output.all(it.stdout, it.stderr))
    """)
    shown = {
        "default": (True, True),
        "stdout": (True, False),
        "stderr": (False, True),
        "stdoutAndStderr": (True, True),
        "none": (False, False),
    }
    status = [line for line in told.splitlines() if "command:remote:Command" in line]
    for name, (out, err) in shown.items():
        assert any(line.endswith(f"out-{name}") for line in status) is out, name
        assert any(line.endswith(f"err-{name}") for line in status) is err, name
    # exactly one newline at the end is removed
    assert stack.outputs() == {name: [f"out-{name}\n", f"err-{name}"] for name in shown}


def test_a_preview_runs_nothing_and_promises_no_output(stack: Stack, there: Path) -> None:
    program = """
    first = step("first", stdin=given["value"], create=f"cat; touch {there}/ran")
    step("second", stdin=first.stdout, create=f"cat > {there}/second")
    first.stdout.apply(lambda text: pathlib.Path(there, "seen").write_text(text))
    """
    assert "+ 3 to create" in stack.preview(program, {"value": "one"})
    assert list(there.iterdir()) == []
    stack.up(program, {"value": "one"})
    assert (there / "second").read_text() == "one"
    for name in ("ran", "seen"):
        (there / name).unlink()
    steps = json.loads(stack.preview(program, {"value": "two"}, "--json"))["steps"]
    assert [step["op"] for step in steps if step["urn"].endswith(("first", "second"))] == ["update", "update"]
    assert not (there / "ran").exists()
    assert not (there / "seen").exists(), "the old output is not shown as the new one"


def test_invalid_inputs_are_named_before_anything_runs(stack: Stack, there: Path) -> None:
    program = """
    way = {"host": "127.0.0.1", "private_key": given["key"]} | given["change"]
    step("it", {name: value for name, value in way.items() if value}, create=f"touch {there}/it")
    """
    for change, said in [
        ({"bogus": "x"}, "bogus"),
        ({"host": None}, "host"),
        ({"port": "twenty-two"}, "port"),
    ]:
        told = stack.fails(program, {"change": change})
        assert said in told
        assert "problem" in told
    assert not (there / "it").exists()
