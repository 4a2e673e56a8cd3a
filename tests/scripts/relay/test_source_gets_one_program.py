"""S1, S2: whoever holds a source's key gets the forced command and no other channel."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.scripts.relay.chain import Chain

# The first bytes of an HTTP/2 server: a SETTINGS frame on stream 0. Nothing but rclone says this.
SETTINGS = b"\x04\x00\x00\x00\x00\x00"
MARK = "/tmp/attacker-was-here"  # on the relay
PROBE = f"touch {MARK}; id; cat /etc/passwd"


def attempt(
    chain: Chain, *options: str, command: list[str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    argv = [*chain.forced("web1", *options), *(command or [])]
    return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=40)


def assert_only_rclone(chain: Chain, done: subprocess.CompletedProcess[bytes]) -> None:
    """What came back is HTTP/2 or nothing, and nothing ran on the relay."""
    assert done.stdout == b"" or SETTINGS in done.stdout[:16], done.stdout
    assert b"uid=" not in done.stdout + done.stderr
    assert b"root:" not in done.stdout + done.stderr
    assert chain.root("test", "-e", MARK).returncode == 1, "a command of the source ran on the relay"


COMMANDS = [
    [PROBE],
    ["/bin/sh", "-c", PROBE],
    ["sh", "-i"],
    ["bash", "-l"],
    ["serve-restic", ";", PROBE],
    ["/usr/local/lib/lastcopy/serve-restic", "db1"],
    ["/usr/local/lib/lastcopy/serve-restic", "web1;", PROBE],
    ["rclone", "serve", "restic", "--stdio", "/"],
    ["rclone", "serve", "restic", "--stdio", "lastcopy:backups"],
    ["rclone", "config", "show"],
    ["rclone", "--version"],
    [f"$({PROBE})"],
    [f"`{PROBE}`"],
    [f"x\n{PROBE}\n"],
    [f"x && {PROBE}"],
    [f"| {PROBE}"],
    [f"'; {PROBE} #"],
    [f'"; {PROBE} #'],
    ["-c", PROBE],
    ["--", PROBE],
    ["/usr/lib/openssh/sftp-server"],
    ["scp", "-t", "/tmp"],
    ["scp", "-f", "/etc/passwd"],
    ["rsync", "--server", "--sender", ".", "/etc/passwd"],
    ["internal-sftp"],
    ["env"],
    ["sudo", "-n", "id"],
    ["su", "-"],
    ["passwd"],
    ["crontab", "-l"],
    ["nc", "-l", "9999"],
    ["A" * 8000],
    ["%s%s%n"],
    ["exec", "sh"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words).replace("\n", "~")[:40])
def test_a_command_is_never_run(ready: Chain, command: list[str]) -> None:
    assert_only_rclone(ready, attempt(ready, command=command))


@pytest.mark.parametrize("options", [["-t"], ["-tt"], ["-T"], ["-q"]], ids=" ".join)
def test_a_terminal_is_never_given(ready: Chain, options: list[str]) -> None:
    done = attempt(ready, *options, command=["tty; " + PROBE])
    assert_only_rclone(ready, done)
    assert b"/dev/pts" not in done.stdout + done.stderr


@pytest.mark.parametrize("subsystem", ["sftp", "netconf", "shell", "../../bin/sh"])
def test_a_subsystem_is_never_started(ready: Chain, subsystem: str) -> None:
    assert_only_rclone(ready, attempt(ready, "-s", command=[subsystem]))


def copy_tool(ready: Chain, name: str) -> list[str]:
    options = ready.forced("web1")[1:-1]
    target = f"bk-web1@{ready.relay_facts['address']}"
    if name == "rsync":
        return ["rsync", "-e", "ssh " + " ".join(options), f"{target}:/etc/passwd", "."]
    legacy = ["-O"] if name == "scp -O" else []
    if name.startswith("scp"):
        return ["scp", *legacy, *options, f"{target}:/etc/passwd", "."]
    return ["sftp", *options, f"{target}:/etc/passwd", "."]


@pytest.mark.parametrize("name", ["scp", "scp -O", "sftp"])
def test_files_are_never_copied(ready: Chain, name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        copy_tool(ready, name),
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def forwards(ready: Chain, *options: str) -> str:
    """Ask for a forwarding and hold the connection for a moment; what ssh says about it."""
    process = subprocess.Popen(
        ready.forced("web1", "-v", *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(1.5)
    try:
        return process.communicate(timeout=20)[1].decode(errors="replace")
    finally:
        process.kill()


REMOTE = ["-R 12345:127.0.0.1:22", "-R 0:127.0.0.1:22", "-R /tmp/attacker.sock:127.0.0.1:22", "-R 12346"]


@pytest.mark.parametrize("option", REMOTE)
def test_remote_forwarding_is_refused(ready: Chain, option: str) -> None:
    words = forwards(ready, *option.split(" ", 1))
    assert (
        "remote port forwarding failed" in words
        or "forwarding request failed" in words.lower()
        or "remote forward failure" in words
    ), words
    listening = ready.sh("ss -Hltn; ls /tmp")
    assert "12345" not in listening
    assert "attacker.sock" not in listening


@pytest.mark.parametrize("target", ["127.0.0.1:22", "{storage}", "169.254.169.254:80", "[::1]:22"])
def test_local_forwarding_is_refused(ready: Chain, target: str) -> None:
    """-W is -L without the listener: the channel that -L, -D and ProxyJump all use."""
    where = target.format(storage=ready.storage["endpoint"].removeprefix("https://"))
    done = attempt(ready, "-W", where)
    assert b"SSH-2.0" not in done.stdout
    assert done.stdout == b""
    assert b"administratively prohibited" in done.stderr


def test_stream_local_forwarding_is_refused(ready: Chain, tmp_path: Path) -> None:
    mine = tmp_path / "s"
    process = subprocess.Popen(
        ready.forced("web1", "-v", "-N", "-L", f"{mine}:/run/systemd/journal/stdout"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(1.5)
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionResetError):
        client.settimeout(3)
        client.connect(str(mine))
        client.sendall(b"x\n")
        assert client.recv(1) == b""  # hung up on, one way or the other
    process.terminate()
    assert b"open failed" in process.communicate(timeout=10)[1]
    # The client cannot tell a refusal from a missing socket; the relay's own log can.
    assert "refused streamlocal port forward" in ready.sh("journalctl --no-pager -t sshd-session -n 20")


def test_agent_x11_and_tun_are_refused(ready: Chain) -> None:
    """Asked for, each is answered with a refusal, and no socket of it stands on the relay."""
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(
        part.split("=", 1)
        for part in agent.replace(";", "\n").splitlines()
        if "=" in part and " " not in part
    )
    try:
        done = subprocess.run(
            ready.forced("web1", "-v", "-A"),
            input=b"",
            capture_output=True,
            check=False,
            timeout=30,
            env={"PATH": "/usr/bin:/bin", **variables},
        )
        assert_only_rclone(ready, done)
        assert "agent." not in ready.sh("ls -R /tmp")
    finally:
        subprocess.run(["kill", variables["SSH_AGENT_PID"]], check=True)
    done = subprocess.run(
        ready.forced("web1", "-v", "-Y"),
        input=b"",
        capture_output=True,
        check=False,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", "DISPLAY": ":7"},
    )
    assert_only_rclone(ready, done)
    words = forwards(ready, "-w", "0:0")
    assert (
        "Tunnel forwarding failed" in words
        or "Tunnel device open failed" in words
        or "administratively prohibited" in words
    ), words
    assert "tun0" not in ready.sh("ip -o link")


@pytest.mark.parametrize(
    "setting",
    [
        "RCLONE_CONFIG=/etc/passwd",
        "RCLONE_APPEND_ONLY=false",
        "LD_PRELOAD=/tmp/x.so",
        "BASH_ENV=/tmp/x",
        "ENV=/tmp/x",
        "PATH=/tmp",
        "GODEBUG=x",
        "AWS_CA_BUNDLE=/x",
    ],
)
def test_no_environment_variable_reaches_the_program(ready: Chain, setting: str) -> None:
    """The process that runs for this source has the wrapper's own six words of environment, and never this one."""
    name = setting.split("=")[0]
    process = subprocess.Popen(
        ready.forced("web1", "-o", f"SetEnv={setting}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout
        process.stdout.read1(16)  # type: ignore[attr-defined]  # rclone speaks: it runs
        seen = ready.sh(
            'for p in /proc/[0-9]*; do if [ "$(stat -c %U $p)" = bk-web1 ] && [ "$(cat $p/comm)" = rclone ]; '
            "then tr '\\0' '\\n' <$p/environ; fi; done"
        )
    finally:
        process.communicate(timeout=20)
    assert "GOMEMLIMIT=" in seen
    value = setting.split("=")[1]
    assert f"{name}={value}" not in seen.splitlines()
    assert {line.split("=")[0] for line in seen.splitlines()} <= {
        "PATH",
        "HOME",
        "LC_ALL",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "PWD",
        "OLDPWD",
        "_",
    }


def test_a_second_session_in_one_connection_is_refused(ready: Chain, tmp_path: Path) -> None:
    """MaxSessions 1: a multiplexed connection carries one program."""
    control = tmp_path / "c"
    first = subprocess.Popen(
        ready.forced("web1", "-o", "ControlMaster=yes", "-o", f"ControlPath={control}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert first.stdout
        first.stdout.read1(16)  # type: ignore[attr-defined]
        second = attempt(
            ready, "-o", f"ControlPath={control}", "-o", "ControlMaster=no", "-o", "ProxyCommand=false"
        )
        assert SETTINGS not in second.stdout
    finally:
        first.communicate(timeout=20)


def test_other_accounts_do_not_take_the_sources_key(ready: Chain) -> None:
    for user in ("root", "admin", "bk-db1", "daemon", "nobody"):
        argv = [*ready.ssh_argv(user, ready.key("web1")), "id"]
        done = subprocess.run(argv, input=b"", capture_output=True, check=False, timeout=30)
        assert done.returncode == 255, user
        assert b"Permission denied" in done.stderr


def test_no_password_opens_anything(ready: Chain) -> None:
    options = (
        "-o",
        "BatchMode=no",
        "-o",
        "PubkeyAuthentication=no",
        "-o",
        "PreferredAuthentications=password,keyboard-interactive",
    )
    done = attempt(ready, *options)
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


LAYERS = {
    "the key's own options": 'sed -i \'s/^restrict,command="[^"]*" //\' /etc/ssh/lastcopy/keys/bk-web1',
    "sshd's rule for sources": "sed -i '/^Match User bk/,/^$/d; /^Allow.*Forwarding/d' /etc/ssh/sshd_config.d/10-lastcopy.conf;"
    " sed -i '1i AuthorizedKeysFile /etc/ssh/lastcopy/keys/%u .ssh/authorized_keys' /etc/ssh/sshd_config.d/10-lastcopy.conf",
    "the login shell": "usermod --shell /bin/sh bk-web1",
    "the firewall": "nft delete table inet lastcopy",
}


def opened(chain: Chain) -> dict[str, bool]:
    """What a source's key opens besides the forced command."""
    command = attempt(chain, command=["echo", "a-command-ran"])
    forward = attempt(chain, "-W", "127.0.0.1:22")
    return {"command": b"a-command-ran" in command.stdout, "forwarding": b"SSH-2.0" in forward.stdout}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_alone_may_fail_without_opening_a_shell(changing: Chain, layer: str) -> None:
    changing.sh(f"{LAYERS[layer]}; systemctl reload ssh")
    assert opened(changing) == {"command": False, "forwarding": False}


def test_sabotage_without_any_layer_a_command_and_a_forwarding_are_seen_to_work(changing: Chain) -> None:
    """The proofs of S1 and S2 can fail."""
    for line in LAYERS.values():
        changing.sh(line)
    changing.sh("sshd -t && systemctl reload ssh")
    assert opened(changing) == {"command": True, "forwarding": True}
