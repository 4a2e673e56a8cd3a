"""A3: a wrong sshd configuration, or wrong firewall rules, on the way to the relay."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.relay_sshd import (
    FIREWALL,
    GUARD,
    LIVE,
    access_kept,
    dials,
    firewall_values,
    run_steps,
    sshd_values,
    until_it_dials,
    with_line,
)

# What sshd itself refuses.
BROKEN = (
    "NoSuchKeyword yes", "Ciphers none-of-these", "MACs none-of-these", "KexAlgorithms none-of-these", "Port 99999", "Port", "Match",
    "Match User", "HostKey /nowhere", "PermitRootLogin perhaps", 'Include "unterminated', "ListenAddress not an address", "AuthenticationMethods nothing-known",
    "MaxStartups many", "LoginGraceTime soon", "Subsystem", "AuthorizedKeysFile",
)  # fmt: skip
# What sshd takes, and what would not be what was meant, or would lock somebody out.
OTHERWISE = (
    "PasswordAuthentication yes", "PermitEmptyPasswords yes", "PermitRootLogin yes", "KbdInteractiveAuthentication yes", "PubkeyAuthentication no",
    "AllowUsers somebody", "DenyUsers {admin}", "DenyGroups lastcopy-admins", "AllowGroups nobody-at-all", "AcceptEnv RCLONE_*", "AcceptEnv LD_PRELOAD",
    "PermitUserEnvironment yes", "AllowTcpForwarding yes", "PermitTunnel yes", "GatewayPorts yes", "AuthorizedKeysFile /nowhere/%u", "Port 2022",
    "PubkeyAcceptedAlgorithms ssh-rsa", "StrictModes no", "X11Forwarding yes", "AllowAgentForwarding yes", "AllowStreamLocalForwarding yes",
    "Ciphers aes128-ctr", "RequiredRSASize 1024", "HostKeyAlgorithms rsa-sha2-512",
    "Match User bk-*\n    ForceCommand none\nMatch all", "Match User bk-*\n    PermitTTY yes\nMatch all", "Match User bk-*\n    MaxSessions 10\nMatch all",
    "Match User bk-*\n    DisableForwarding no\nMatch all", "Match User bk-*\n    AuthorizedKeysFile .ssh/authorized_keys\nMatch all",
)  # fmt: skip
# sshd and every look at its settings are content, and nobody can come in.
SHUT = "ListenAddress 127.0.0.1"
SECONDS = 15  # long enough that the operator's dial meets what went live, on a slow machine as well


def play(ground: Ground) -> Iterator[Finding]:
    values = sshd_values(ground)
    before = _access(ground)
    asis = run_steps(ground.relay, "check", "sshd", [values])[0]
    yield control("the step finds the relay's sshd as the stack wants it", asis.code == 0, asis.words or "no drift")  # fmt: skip
    came = dials(ground)
    yield control("the operator logs in at the relay", came.code == 0, f"exit code {came.code}")
    yield from _refused(ground, values)
    after = _access(ground)
    yield judged(
        "sshd's configuration, its process and the firewall are untouched",
        after == before,
        "as before" if after == before else after,
    )
    if not ground.may(Level.TRIAL):
        yield not_played("a configuration that nobody can dial, made live on the relay", Level.TRIAL.words)
        return
    yield from _rolled_back(ground)


def _access(ground: Ground) -> str:
    """What decides who comes in at the relay."""
    return ground.relay.shell(
        f"sha256sum {LIVE} {FIREWALL}/rules.nft; systemctl show -p MainPID,ActiveEnterTimestamp ssh.service; ls {GUARD} 2>/dev/null || true"
    ).out


def _refused(ground: Ground, values: Mapping[str, str]) -> Iterator[Finding]:
    lines = [*BROKEN, *(line.replace("{admin}", ground.relay.door.user) for line in OTHERWISE)]
    answers = run_steps(ground.relay, "check", "sshd", [with_line(values, line) for line in lines])
    for line, answer in zip(lines, answers, strict=True):
        name = " / ".join(part.strip() for part in line.splitlines() if part != "Match all")
        said = [part for part in answer.words.splitlines() if part.startswith("error:")]
        helps = "fix:" in answer.words
        yield judged(f"'{name}'", answer.code == 1 and helps and bool(said), said[0] if said else f"it would go live: {answer.drift}")  # fmt: skip


def _rolled_back(ground: Ground) -> Iterator[Finding]:
    sshd = with_line(sshd_values(ground, guard=SECONDS), SHUT)
    rules = firewall_values(ground, guard=SECONDS)
    open_ = rules["RULES"]
    port = ground.relay.shell(f"sed -n 's/^Port //p' {LIVE}").out.strip()
    rules["RULES"] = open_.replace(f"tcp dport {port} accept", "tcp dport 9 accept")
    for what, script, changed in (("sshd", "sshd", sshd), ("the firewall", "firewall", rules)):
        with access_kept(ground):
            before = ground.relay.shell(f"cat {LIVE} {FIREWALL}/rules.nft | sha256sum").out
            began = time.monotonic()
            went = run_steps(ground.relay, "apply", script, [changed])[0]
            refused = dials(ground)
            yield control(
                f"{what} that lets nobody in goes live, for the look alone finds nothing wrong", went.code == 0 and refused.code != 0,
                went.words or f"the operator's dial ends with {refused.code}",
            )  # fmt: skip
            came = until_it_dials(ground, SECONDS + 15)
            after = ground.relay.shell(f"cat {LIVE} {FIREWALL}/rules.nft | sha256sum").out
            pending = ground.relay.run("ls", GUARD, check=False).out.split()
            left = [] if came else ["the operator is still locked out"]
            left += [] if after == before else ["the files are not as before"]
            left += [f"{name} is left" for name in pending]
            seen = left or f"within {time.monotonic() - began:.0f} s, nothing left of it"
            yield judged(f"{what} goes back by itself, and the operator comes in", not left, seen)
    last = dials(ground)
    yield control("afterwards the operator logs in", last.code == 0, f"exit code {last.code}")
