"""A person with a second factor, enrolled for row A6 and removed afterwards, and the ways in which that person can log in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import shlex
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from attack_drill.connections import UNSHARED
from attack_drill.drill import Drill
from attack_drill.errors import DrillError
from attack_drill.relay_steps import Factor, run_steps
from attack_drill.security_key import Attestation, SecurityKey
from ops.hosts.connection import CommandResult

TOTP = "/etc/lastcopy/totp"


def totp_code(seed: str, at: float) -> str:
    """The code that an authenticator shows at a time (RFC 6238: SHA-1, six digits, thirty seconds)."""
    digest = hmac.new(base64.b32decode(seed), struct.pack(">Q", int(at // 30)), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def new_totp_seed() -> str:
    return base64.b32encode(secrets.token_bytes(20)).decode()


@dataclass(kw_only=True)
class EnrolledPerson:
    """A person who may open the tunnel to the relay's sshd.

    Args:
        drill: The drill that enrolled the person.
        name: The account's name on the relay.
        key: A file with the private key, on this machine.
        device: The person's security key, in this process.
        seed: The TOTP seed, here and on the relay.
    """

    drill: Drill
    name: str
    key: Path
    device: SecurityKey = field(repr=False)
    seed: str = field(repr=False)

    def words(self, *options: str) -> list[str]:
        """An ssh command to the relay as this person: host key pinned, not shared; `answer_prompts` answers its questions."""
        host = self.drill.relay
        endpoint = host.endpoint
        ssh, *rest = host.words()
        # The drill's own options but for its identity (ssh would try both) and BatchMode (which forbids questions).
        theirs = [word for flag, word in pairwise(rest) if flag == "-o" and not word.startswith(("IdentityFile", "BatchMode"))]  # fmt: skip
        pinned = [part for word in theirs for part in ("-o", word)]
        own = (
            "-o",
            f"IdentityFile={self.key}",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "NumberOfPasswordPrompts=1",
        )
        return [ssh, "-F", "none", *UNSHARED, *options, *own, *pinned, "-p", str(endpoint.port), f"{self.name}@{endpoint.address}"]  # fmt: skip

    def to_sshd(self) -> list[str]:
        """Options for a tunnel to the relay's sshd, which is all that a person may open."""
        port = self.drill.relay.shell("sed -n 's/^Port //p' /etc/ssh/sshd_config.d/10-lastcopy.conf").out
        return ["-W", f"127.0.0.1:{port.strip()}"]

    @contextmanager
    def answer_prompts(self, answer: str) -> Iterator[dict[str, str]]:
        """An environment in which ssh's questions get this answer. It is in a file that only this user can read, never in an argument."""
        folder = self.drill.folder
        file, ask = folder / "answer", folder / "answers"
        file.write_text(f"{answer}\n")
        file.chmod(0o600)
        ask.write_text(f"#!/bin/sh\nexec cat {shlex.quote(str(file))}\n")
        ask.chmod(0o700)
        try:
            yield {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}  # fmt: skip
        finally:
            file.unlink()

    def try_tunnel(self, answer: str, *options: str) -> CommandResult:
        """Open the tunnel with this person's key, unless an option takes it away, and with ``answer`` for ssh's questions."""
        self.clear_rate_limit()
        with self.answer_prompts(answer) as environment:
            return _ended([*self.words(*options, *self.to_sshd())], environment)

    def try_device(
        self,
        says: Attestation,
        *,
        claimed: Attestation | None = None,
        other: SecurityKey | None = None,
        replayed: bytes = b"",
    ) -> CommandResult:
        """Open the tunnel with a security key: this person's, or another one that is offered in its place."""
        socket = self.drill.folder / "device"
        with (other or self.device).plugged_in(socket, says, claimed=claimed, replayed=replayed) as options:
            return self.try_tunnel("", *options)

    def log_in_through_tunnel(
        self, answer: str, *command: str, options: tuple[str, ...] = ()
    ) -> CommandResult:
        """Log in as the operator, through this person's tunnel."""
        self.clear_rate_limit()
        proxy = shlex.join(self.words(*options, *self.to_sshd())).replace("%", "%%")
        host = self.drill.relay
        ssh, *rest = host.words(*command)
        with self.answer_prompts(answer) as environment:
            return _ended([ssh, *UNSHARED, "-o", f"ProxyCommand={proxy}", *rest], environment)

    def clear_rate_limit(self) -> None:
        """Reset the PAM module's limit of three tries in half a minute, so that every try is judged for itself."""
        self.drill.relay.shell(f"[ ! -f {TOTP}/{self.name} ] || sed -i /RATE_LIMIT/d {TOTP}/{self.name}")


def _ended(words: list[str], environment: dict[str, str]) -> CommandResult:
    try:
        # In a new session ssh has no terminal to ask on, so it runs SSH_ASKPASS.
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=25, check=False, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return CommandResult(
            code=124, out=(late.stdout or b"").decode(errors="replace"), err="no answer in time"
        )
    return CommandResult(
        code=done.returncode,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(errors="replace"),
    )


@contextmanager
def enroll_person(drill: Drill, factor: Factor) -> Iterator[EnrolledPerson]:
    """Enroll a person by the program's own step, beside those of the stack; afterwards only the stack's people are left.

    The person has a security key, as fido2 needs it, and a key in a file, which fido2 must refuse.
    """
    from components.relay.sshd import sshd_config as sshd  # imported late: recovery runs without Pulumi

    person = EnrolledPerson(
        drill=drill, name=f"drill-{secrets.token_hex(3)}", key=drill.folder / "person", device=SecurityKey(), seed=new_totp_seed(),
    )  # fmt: skip
    if not person.key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(person.key)], check=True, timeout=20)  # fmt: skip
    public = person.key.with_suffix(".pub").read_text().strip()
    theirs = _people(drill)
    keys = sshd.people_keys({person.name: [public]}, "none")[person.name]
    keys += sshd.people_keys({person.name: [person.device.public]}, "fido2")[person.name]
    lines = {**theirs, person.name: keys}
    seeds = {f"TOTP_{n}": person.seed if name == person.name else new_totp_seed() for n, name in enumerate(sorted(lines))}  # fmt: skip
    try:
        answer = run_steps(drill.relay, "apply", "second_factor", [_values(lines, factor) | seeds])[0]
        if answer.code != 0:
            raise DrillError(
                f"the person was not enrolled: {answer.words}", where="the step second_factor, on the relay"
            )
        yield person
    finally:
        if theirs:
            run_steps(drill.relay, "apply", "second_factor", [_values(theirs, "none")])
            drill.relay.run("rm", "-rf", TOTP, "/etc/pam.d/lastcopy-sshd")
        else:
            run_steps(drill.relay, "remove", "second_factor", [_values({}, "none")])


def _values(lines: dict[str, str], factor: Factor) -> dict[str, str]:
    names = sorted(lines)
    return {"PEOPLE": "".join(f"{name}\n" for name in names), "KEYS": "".join(lines[name] for name in names), "FACTOR": factor}  # fmt: skip


def _people(drill: Drill) -> dict[str, str]:
    """The stack's people on the relay and the lines of their key files, each line after the name. A killed drill's are left out."""
    listed = drill.relay.shell("getent passwd | awk -F : '$5 == \"lastcopy person\" { print $1 }'").out.split()  # fmt: skip
    found = {}
    for name in listed:
        if not name.startswith("drill-"):
            keys = drill.relay.run("cat", f"/etc/ssh/lastcopy/keys/{name}").out.splitlines()
            found[name] = "".join(f"{name} {line}\n" for line in keys)
    return found


def time_for_one_login() -> float:
    """The time now; near the end of a code's half minute, wait for the next one, so that a code stays valid during one login."""
    left = 30 - time.time() % 30
    if left < 4:
        time.sleep(left + 0.2)
    return time.time()
