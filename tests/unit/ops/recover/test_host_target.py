"""Restore onto a host: how it is named, which key it must show, and what happens there if the connection ends."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from ops.errors import LastcopyError
from ops.hosts.connection import CommandResult, SshHost
from ops.recover.host_target import _RUN, HostAddress, make_endpoint, parse_host
from tests.waiting import wait_until

KEY = f"ssh-ed25519 {'A' * 68} root@web1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web1", HostAddress(user="root", name="web1", port=22)),
        ("admin@web1.example:2222", HostAddress(user="admin", name="web1.example", port=2222)),
        ("first.last@corp.example@web1", HostAddress(user="first.last@corp.example", name="web1", port=22)),
        ("root@[fd00::7]:22", HostAddress(user="root", name="fd00::7", port=22)),
    ],
)
def test_a_host_is_written_as_for_ssh(text: str, found: HostAddress) -> None:
    assert parse_host(text) == found


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=x", "a@-x", "a b", "web1:0", "web1:70000", "a@b@c@d", "web1;x", "[zz]"]
)
def test_an_invalid_host_is_refused(text: str) -> None:
    with pytest.raises(LastcopyError, match="--host"):
        parse_host(text)


@pytest.mark.parametrize("key", [None, "ssh-rsa AAAA", "ssh-ed25519 short", f"{KEY}\nother"])
def test_no_connection_to_a_host_without_its_key(key: str | None) -> None:
    with pytest.raises(LastcopyError, match="--host-key"):
        make_endpoint(parse_host("web1"), key, None)


def test_a_jump_host_is_connected_to_first_and_never_without_its_own_key() -> None:
    with pytest.raises(LastcopyError, match="--jump-host-key"):
        make_endpoint(parse_host("ops@jump"), None, None, name="jump-host")
    with pytest.raises(LastcopyError, match="--jump-host"):
        parse_host("a b", "--jump-host")
    jump = make_endpoint(parse_host("ops@jump:2022"), KEY, None, name="jump-host")
    there = make_endpoint(parse_host("admin@10.0.0.21"), KEY, None, jump=jump)
    assert there.where == "admin@10.0.0.21 port 22, from jump host ops@jump port 2022"


class Asked(SshHost):
    """Counts what would have been run."""

    times = 0

    def run(self, *command: str, **_: object) -> CommandResult:
        assert command == ("true",)
        self.times += 1
        return CommandResult(code=0, out="", err="")


def test_commands_keep_a_connection_and_that_of_a_killed_program_ends_soon(tmp_path: Path) -> None:
    host = Asked(endpoint=make_endpoint(parse_host("web1"), KEY, None), folder=tmp_path)
    assert "ControlPersist=120" in host.words("true"), "and not for hours: nobody may be there any more"
    with host.keep_open(0.01):
        wait_until(lambda: host.times > 2, 20, pause=0.01)
    asked = host.times
    time.sleep(0.1)
    assert host.times == asked


class There:
    """The script as a host runs it, with a program in restic's place that reports its input and keeps running."""

    def __init__(self, folder: Path) -> None:
        self.run, self.lib, self.said = folder / "run", folder / "lib", folder / "said"
        for made in (self.run, self.lib):
            made.mkdir()
        tool = self.lib / "restic"
        tool.write_text(
            f'#!/bin/sh\ncat "$2" >{self.said}; stat -c %a "$2" >>{self.said}; echo $$ >>{self.said}; exec sleep 60\n'
        )
        tool.chmod(0o700)
        words = [
            "sh",
            "-c",
            _RUN,
            "sh",
            str(self.run),
            str(self.lib),
            str(tool),
            "-p",
            str(self.run / "password"),
        ]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE)
        assert self.process.stdin
        self.process.stdin.write(b"s3cret 'word'\n")
        self.process.stdin.flush()
        wait_until(lambda: self.said.exists() and self.said.read_text().count("\n") == 2)

    @property
    def restic(self) -> int:
        return int(self.said.read_text().split()[-1])

    def lost(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("ends", ["the connection", "the script"])
def test_restic_on_the_host_ends_with_the_connection_and_the_password_is_removed(
    tmp_path: Path, ends: str
) -> None:
    there = There(tmp_path)
    assert there.said.read_text().startswith("s3cret 'word'600\n")
    if ends == "the connection":
        there.lost()
    else:
        there.process.send_signal(signal.SIGTERM)
    assert there.process.wait(20) == 143
    wait_until(lambda: gone(there.restic))
    assert not there.run.exists()
    assert not there.lib.exists()
    there.lost()


def test_the_exit_code_is_restics_and_no_other_process_is_ended(tmp_path: Path) -> None:
    there = There(tmp_path)
    bystander = subprocess.Popen(["sleep", "60"])
    subprocess.run(["kill", "-KILL", str(there.restic)], check=True)
    assert there.process.wait(20) == 137
    there.lost()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
