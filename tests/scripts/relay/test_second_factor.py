"""A6: with a second factor on, a stolen key alone opens nothing; and switching it on locks nobody out.

Security keys (fido2) are tried by row A6, with its sabotages: tests/drill/test_a_rows.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import pty
import secrets
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from components.relay.sshd import sshd_config as sshd
from tests.networks import free_port
from tests.scripts.relay.chain import Answer, Chain, Step

PERSON = "alice"


def code(secret: str, at: float | None = None) -> str:
    """RFC 6238 with SHA-1, six digits, thirty seconds: what a phone shows."""
    counter = struct.pack(">Q", int((time.time() if at is None else at) // 30))
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def people(chain: Chain, factor: str, secret: str = "", keys: str | None = None) -> Step:
    public = keys or chain.key(PERSON).with_suffix(".pub").read_text().strip()
    lines = sshd.people_keys({PERSON: [public]}, factor)  # type: ignore[arg-type]
    return Step(
        "second_factor", {"PEOPLE": f"{PERSON}\n", "KEYS": lines[PERSON], "FACTOR": factor, "TOTP_0": secret}
    )


def log_in(chain: Chain, answer: str, *options: str) -> tuple[bool, str]:
    """Run ssh on a separate terminal and type `answer` at the first question; the tunnel's port shows whether it opened."""
    pid, terminal = pty.fork()
    argv = chain.ssh_argv(
        PERSON, chain.key(PERSON), "-N", "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1", *options
    )
    if pid == 0:
        os.execvp(argv[0], argv)  # noqa: S606
    said, typed, deadline = "", False, time.monotonic() + 20
    port = int(options[options.index("-L") + 1].split(":")[0])
    opened = False
    try:
        while time.monotonic() < deadline and not opened:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 4096)
                except OSError:
                    break  # it ended
                if not data:
                    break
                said += data.decode(errors="replace")
            if "erification code" in said and not typed:
                os.write(terminal, f"{answer}\n".encode())
                typed = True
            opened = is_sshd(port)
    finally:
        if not opened:
            end(pid, terminal)
    if opened:
        _OPEN.append((pid, terminal))
    return opened, said


_OPEN: list[tuple[int, int]] = []


def end(pid: int, terminal: int) -> None:
    os.close(terminal)
    try:
        os.kill(pid, 15)
    except ProcessLookupError:
        return
    os.waitpid(pid, 0)


def is_sshd(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.settimeout(5)
            return client.recv(7) == b"SSH-2.0"
    except OSError:
        return False


@contextmanager
def tunnel(chain: Chain, answer: str = "") -> Iterator[int]:
    """A person's tunnel to the relay's sshd; yields its local port."""
    port = free_port()
    opened, said = log_in(chain, answer, "-L", f"{port}:127.0.0.1:22")
    assert opened, said
    try:
        yield port
    finally:
        end(*_OPEN.pop())


def through(port: int) -> tuple[str, ...]:
    """Options for a connection of the engine through the tunnel."""
    return ("-o", "HostName=127.0.0.1", "-p", str(port))


def switch_on(chain: Chain, factor: str, port: int, **changes: Any) -> list[Answer]:
    made = []
    for step in (
        chain.sshd(second_factor=factor, **changes),
        chain.sshd("confirm", second_factor=factor, **changes),
    ):
        made.append(chain.run(step, options=through(port)))
        assert made[-1].code == 0, made[-1].words
    return made


@pytest.fixture
def secret() -> str:
    return base64.b32encode(secrets.token_bytes(20)).decode()


def switch_off(chain: Chain) -> None:
    for step in (chain.sshd(), chain.sshd("confirm")):
        chain.inside(step)


@pytest.fixture
def peopled(changing: Chain) -> Iterator[Chain]:
    """People first, the factor later: the tunnel must be open before it becomes the only way."""
    changing.apply(people(changing, "none"))
    yield changing
    switch_off(changing)
    assert changing.run(people(changing, "none"), "remove").code == 0


def test_enabling_it_from_outside_the_tunnel_is_refused_with_the_command_that_helps(peopled: Chain) -> None:
    for factor in ("fido2", "totp"):
        refused = peopled.run(peopled.sshd(second_factor=factor))
        assert refused.code == 1
        assert "ssh -N -L 2222:127.0.0.1:22" in refused.words
        assert "address to 127.0.0.1" in refused.words
    assert peopled.admin("true").returncode == 0


def test_a_persons_key_only_opens_a_tunnel(peopled: Chain) -> None:
    with tunnel(peopled) as port:
        assert peopled.admin("true", options=through(port)).returncode == 0
    argv = peopled.ssh_argv(PERSON, peopled.key(PERSON), "-T")
    shell = subprocess.run([*argv, "id"], capture_output=True, check=False, timeout=30)
    assert b"uid=" not in shell.stdout
    assert shell.returncode != 0
    elsewhere = peopled.ssh_argv(
        PERSON, peopled.key(PERSON), "-W", peopled.storage["endpoint"].removeprefix("https://")
    )
    done = subprocess.run(elsewhere, input=b"", capture_output=True, check=False, timeout=30)
    assert b"administratively prohibited" in done.stderr


def test_totp_opens_the_tunnel_only_with_the_code(peopled: Chain, secret: str) -> None:
    peopled.apply(people(peopled, "totp", secret))
    peopled.converges(people(peopled, "totp", secret))
    with tunnel(peopled) as port:
        switch_on(peopled, "totp", port)
    # The engine's own key, stolen, from outside: nothing.
    stolen = peopled.admin("true")
    assert stolen.returncode == 255
    assert "Permission denied" in stolen.stderr
    # The person's key without a code, or with a wrong one: nothing.
    for wrong in ("000000", "", code(secret, time.time() - 86400)):
        opened, said = log_in(peopled, wrong, "-L", f"{free_port()}:127.0.0.1:22")
        assert not opened, said
    # With the code: the tunnel, and through it the engine.
    peopled.sh(
        "sed -i '/RATE_LIMIT/d' /etc/lastcopy/totp/" + PERSON
    )  # three wrong codes within half a minute would make it wait
    now = code(secret)
    with tunnel(peopled, now) as port:
        assert peopled.admin("true", options=through(port)).returncode == 0
        confirmed = peopled.run(peopled.sshd("confirm", second_factor="totp"), options=through(port))
        assert (confirmed.code, confirmed.changed) == (0, [])
    # A code that was observed cannot be used again.
    opened, said = log_in(peopled, now, "-L", f"{free_port()}:127.0.0.1:22")
    assert not opened, said
    # Sources are not asked for a code: their backups go on.
    done = subprocess.run(peopled.forced("web1"), input=b"", capture_output=True, check=False, timeout=30)
    assert done.returncode == 0


def test_sabotage_a_person_without_a_totp_secret_is_refused(peopled: Chain, secret: str) -> None:
    """`nullok` is the classic mistake: a person without a secret comes in with the key alone."""
    peopled.apply(people(peopled, "totp", secret))
    with tunnel(peopled) as port:
        switch_on(peopled, "totp", port)
    peopled.sh(f"rm /etc/lastcopy/totp/{PERSON}")
    opened, said = log_in(peopled, "000000", "-L", f"{free_port()}:127.0.0.1:22")
    assert not opened, said
    peopled.sh(
        "sed -i 's/pam_google_authenticator.so/& nullok/' /etc/pam.d/lastcopy-sshd; echo 'auth required pam_permit.so' >>/etc/pam.d/lastcopy-sshd"
    )
    opened, said = log_in(peopled, "000000", "-L", f"{free_port()}:127.0.0.1:22")
    assert opened, said
    end(*_OPEN.pop())


def test_a_removed_person_has_no_access(peopled: Chain, secret: str) -> None:
    peopled.apply(people(peopled, "totp", secret))
    nobody = people(peopled, "totp", secret).but(PEOPLE="", KEYS="")
    assert peopled.apply(nobody).changed
    assert peopled.root("id", PERSON).returncode != 0
    assert peopled.sh("ls /etc/lastcopy/totp; ls /etc/ssh/lastcopy/keys | grep alice || true") == ""


def test_a_weak_secret_and_an_existing_account_are_refused(peopled: Chain) -> None:
    weak = peopled.run(people(peopled, "totp", "JBSWY3DP"))
    assert weak.code == 1
    assert "not base32 of at least 128 bits" in weak.words
    assert "JBSWY3DP" not in weak.words
    taken = peopled.run(people(peopled, "none").but(PEOPLE="admin\n", KEYS="admin x\n"))
    assert taken.code == 1
    assert "account admin exists on this host and was not made by this program" in taken.words
