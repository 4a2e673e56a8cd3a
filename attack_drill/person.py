"""A person with a second factor, made for row A6 and gone with it: account on the relay, keys and TOTP seed here; and how that person logs in."""

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

from attack_drill.dial import ALONE
from attack_drill.errors import DrillError
from attack_drill.ground import Ground
from attack_drill.relay_sshd import Factor, run_steps
from attack_drill.security_key import Says, SecurityKey
from ops.hosts.connection import Done

TOTP = "/etc/lastcopy/totp"


def code(seed: str, at: float) -> str:
    """RFC 6238 with SHA-1, six digits, thirty seconds: what an authenticator shows at that time."""
    digest = hmac.new(base64.b32decode(seed), struct.pack(">Q", int(at // 30)), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def new_seed() -> str:
    return base64.b32encode(secrets.token_bytes(20)).decode()


@dataclass(kw_only=True)
class Person:
    """``key`` and ``device`` are here; ``seed`` here and on the relay."""

    ground: Ground
    name: str
    key: Path
    device: SecurityKey = field(repr=False)
    seed: str = field(repr=False)

    def words(self, *options: str) -> list[str]:
        """ssh as this person to the relay: pinned as the drill's own dial, alone, asked questions answered by `answering`."""
        host = self.ground.relay
        door = host.door
        ssh, *rest = host.words()
        # All of the drill's own options but its identity (identities add up) and its silence.
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
        return [ssh, "-F", "none", *ALONE, *options, *own, *pinned, "-p", str(door.port), f"{self.name}@{door.address}"]  # fmt: skip

    def to_sshd(self) -> list[str]:
        """A pipe to the relay's sshd, which is all that a person may have."""
        port = self.ground.relay.shell("sed -n 's/^Port //p' /etc/ssh/sshd_config.d/10-lastcopy.conf").out
        return ["-W", f"127.0.0.1:{port.strip()}"]

    @contextmanager
    def answering(self, answer: str) -> Iterator[dict[str, str]]:
        """The environment in which ssh's question gets this answer; it stands in a file of this user's alone, never in an argument."""
        folder = self.ground.folder
        file, ask = folder / "answer", folder / "answers"
        file.write_text(f"{answer}\n")
        file.chmod(0o600)
        ask.write_text(f"#!/bin/sh\nexec cat {shlex.quote(str(file))}\n")
        ask.chmod(0o700)
        try:
            yield {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}  # fmt: skip
        finally:
            file.unlink()

    def try_tunnel(self, answer: str, *options: str) -> Done:
        """Whether sshd behind the relay's door answers to who has this person's key (unless an option takes it away) and says ``answer``."""
        self.forgive()
        with self.answering(answer) as environment:
            return _ended([*self.words(*options, *self.to_sshd())], environment)

    def try_device(
        self,
        says: Says,
        *,
        claimed: Says | None = None,
        other: SecurityKey | None = None,
        replayed: bytes = b"",
    ) -> Done:
        """The same with a security key: this person's, or another one that is offered as if it were."""
        socket = self.ground.folder / "device"
        with (other or self.device).plugged_in(socket, says, claimed=claimed, replayed=replayed) as options:
            return self.try_tunnel("", *options)

    def bring_in(self, answer: str, *command: str, options: tuple[str, ...] = ()) -> Done:
        """The operator's own log-in, through this person's tunnel."""
        self.forgive()
        proxy = shlex.join(self.words(*options, *self.to_sshd())).replace("%", "%%")
        host = self.ground.relay
        ssh, *rest = host.words(*command)
        with self.answering(answer) as environment:
            return _ended([ssh, *ALONE, "-o", f"ProxyCommand={proxy}", *rest], environment)

    def forgive(self) -> None:
        """The module makes who tried thrice wait half a minute: here every try must be judged for itself."""
        self.ground.relay.shell(f"[ ! -f {TOTP}/{self.name} ] || sed -i /RATE_LIMIT/d {TOTP}/{self.name}")


def _ended(words: list[str], environment: dict[str, str]) -> Done:
    try:
        # A session of its own: with no terminal to ask on, ssh asks the environment's program.
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=25, check=False, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return Done(code=124, out=(late.stdout or b"").decode(errors="replace"), err="no answer in time")
    return Done(
        code=done.returncode,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(errors="replace"),
    )


@contextmanager
def enrolled(ground: Ground, factor: Factor) -> Iterator[Person]:
    """The person beside those whom the stack has, by the program's own step; afterwards the relay knows the stack's people only.

    With a security key as fido2 asks for it, and with a key in a file, which must not count then.
    """
    from components.relay import sshd_config as sshd  # here: recovery runs where no Pulumi is

    person = Person(
        ground=ground, name=f"drill-{secrets.token_hex(3)}", key=ground.folder / "person", device=SecurityKey(), seed=new_seed(),
    )  # fmt: skip
    if not person.key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(person.key)], check=True, timeout=20)  # fmt: skip
    public = person.key.with_suffix(".pub").read_text().strip()
    theirs = _people(ground)
    keys = sshd.people_keys({person.name: [public]}, "none")[person.name]
    keys += sshd.people_keys({person.name: [person.device.public]}, "fido2")[person.name]
    lines = {**theirs, person.name: keys}
    seeds = {f"TOTP_{n}": person.seed if name == person.name else new_seed() for n, name in enumerate(sorted(lines))}  # fmt: skip
    try:
        answer = run_steps(ground.relay, "apply", "second_factor", [_values(lines, factor) | seeds])[0]
        if answer.code != 0:
            raise DrillError(f"the person was not enrolled: {answer.words}")
        yield person
    finally:
        if theirs:
            run_steps(ground.relay, "apply", "second_factor", [_values(theirs, "none")])
            ground.relay.run("rm", "-rf", TOTP, "/etc/pam.d/lastcopy-sshd")
        else:
            run_steps(ground.relay, "remove", "second_factor", [_values({}, "none")])


def _values(lines: dict[str, str], factor: Factor) -> dict[str, str]:
    names = sorted(lines)
    return {"PEOPLE": "".join(f"{name}\n" for name in names), "KEYS": "".join(lines[name] for name in names), "FACTOR": factor}  # fmt: skip


def _people(ground: Ground) -> dict[str, str]:
    """The stack's people as the relay knows them: each with the lines of the key file, led by the name. A killed drill's are no people."""
    listed = ground.relay.shell("getent passwd | awk -F : '$5 == \"lastcopy person\" { print $1 }'").out.split()  # fmt: skip
    found = {}
    for name in listed:
        if not name.startswith("drill-"):
            keys = ground.relay.run("cat", f"/etc/ssh/lastcopy/keys/{name}").out.splitlines()
            found[name] = "".join(f"{name} {line}\n" for line in keys)
    return found


def now() -> float:
    """A moment that does not end during one log-in: near the end of an authenticator's half minute the next one is waited for."""
    left = 30 - time.time() % 30
    if left < 4:
        time.sleep(left + 0.2)
    return time.time()
