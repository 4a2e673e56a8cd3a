"""A3: a wrong sshd configuration, or wrong firewall rules, for the relay."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.relay_steps import (
    FIREWALL,
    GUARD,
    LIVE,
    firewall_values,
    keep_access,
    log_in_as_operator,
    run_steps,
    sshd_values,
    wait_for_login,
    with_line,
)

# Lines that sshd itself refuses.
BROKEN = (
    "NoSuchKeyword yes", "Ciphers none-of-these", "MACs none-of-these", "KexAlgorithms none-of-these", "Port 99999", "Port", "Match",
    "Match User", "HostKey /nowhere", "PermitRootLogin perhaps", 'Include "unterminated', "ListenAddress not an address", "AuthenticationMethods nothing-known",
    "MaxStartups many", "LoginGraceTime soon", "Subsystem", "AuthorizedKeysFile",
)  # fmt: skip
# Lines that sshd accepts, but that are not what is wanted or lock somebody out.
OTHERWISE = (
    "PasswordAuthentication yes", "PermitEmptyPasswords yes", "PermitRootLogin yes", "KbdInteractiveAuthentication yes", "PubkeyAuthentication no",
    "AllowUsers somebody", "DenyUsers {admin}", "DenyGroups lastcopy-admins", "AllowGroups nobody-at-all", "AcceptEnv RCLONE_*", "AcceptEnv LD_PRELOAD",
    "PermitUserEnvironment yes", "AllowTcpForwarding yes", "PermitTunnel yes", "GatewayPorts yes", "AuthorizedKeysFile /nowhere/%u", "Port 2022",
    "PubkeyAcceptedAlgorithms ssh-rsa", "StrictModes no", "X11Forwarding yes", "AllowAgentForwarding yes", "AllowStreamLocalForwarding yes",
    "Ciphers aes128-ctr", "RequiredRSASize 1024", "HostKeyAlgorithms rsa-sha2-512",
    "Match User bk-*\n    ForceCommand none\nMatch all", "Match User bk-*\n    PermitTTY yes\nMatch all", "Match User bk-*\n    MaxSessions 10\nMatch all",
    "Match User bk-*\n    DisableForwarding no\nMatch all", "Match User bk-*\n    AuthorizedKeysFile .ssh/authorized_keys\nMatch all",
)  # fmt: skip
# sshd and every check accept it, and nobody can log in.
SHUT = "ListenAddress 127.0.0.1"
SECONDS = 15  # long enough, on a slow machine as well, for the operator's login to meet the new configuration
ROLLED_BACK = SECONDS + 15  # by when the relay must have restored access by itself


def play(drill: Drill) -> Iterator[RowFinding]:
    values = sshd_values(drill)
    before = _access(drill)
    asis = run_steps(drill.relay, "check", "sshd", [values])[0]
    yield control("the step finds the relay's sshd as the stack wants it", asis.code == 0, asis.words or "no drift")  # fmt: skip
    came = log_in_as_operator(drill)
    yield control("the operator can log in at the relay", came.code == 0, f"exit code {came.code}")
    yield from _refused(drill, values)
    after = _access(drill)
    yield judged(
        "sshd's configuration, its process and the firewall are untouched",
        after == before,
        "as before" if after == before else after,
    )
    if not drill.may(Level.TRIAL):
        yield not_played(
            "a configuration that locks everybody out, made live on the relay", Level.TRIAL.words
        )
        return
    yield from _rolled_back(drill)


def _access(drill: Drill) -> str:
    """What decides who can log in at the relay."""
    return drill.relay.shell(
        f"sha256sum {LIVE} {FIREWALL}/rules.nft; systemctl show -p MainPID,ActiveEnterTimestamp ssh.service; ls {GUARD} 2>/dev/null || true"
    ).out


def _refused(drill: Drill, values: Mapping[str, str]) -> Iterator[RowFinding]:
    lines = [*BROKEN, *(line.replace("{admin}", drill.relay.endpoint.user) for line in OTHERWISE)]
    answers = run_steps(drill.relay, "check", "sshd", [with_line(values, line) for line in lines])
    for line, answer in zip(lines, answers, strict=True):
        name = " / ".join(part.strip() for part in line.splitlines() if part != "Match all")
        said = [part for part in answer.words.splitlines() if part.startswith("error:")]
        helps = "fix:" in answer.words
        yield judged(f"'{name}'", answer.code == 1 and helps and bool(said), said[0] if said else f"it would go live: {answer.drift}")  # fmt: skip


def _rolled_back(drill: Drill) -> Iterator[RowFinding]:
    sshd = with_line(sshd_values(drill, guard=SECONDS), SHUT)
    rules = firewall_values(drill, guard=SECONDS)
    open_ = rules["RULES"]
    port = drill.relay.shell(f"sed -n 's/^Port //p' {LIVE}").out.strip()
    rules["RULES"] = open_.replace(f"tcp dport {port} accept", "tcp dport 9 accept")
    for what, script, changed in (("sshd", "sshd", sshd), ("the firewall", "firewall", rules)):
        with keep_access(drill):
            before = drill.relay.shell(f"cat {LIVE} {FIREWALL}/rules.nft | sha256sum").out
            began = time.monotonic()
            went = run_steps(drill.relay, "apply", script, [changed])[0]
            refused = log_in_as_operator(drill)
            yield control(
                f"{what} that lets nobody in goes live, because the checks find nothing wrong", went.code == 0 and refused.code != 0,
                went.words or f"the operator's login ends with {refused.code}",
            )  # fmt: skip
            came = wait_for_login(drill, ROLLED_BACK)
            after = drill.relay.shell(f"cat {LIVE} {FIREWALL}/rules.nft | sha256sum").out
            pending = drill.relay.run("ls", GUARD, check=False).out.split()
            left = [] if came else ["the operator is still locked out"]
            left += [] if after == before else ["the files are not as before"]
            left += [f"{name} is left" for name in pending]
            seen = left or f"within {time.monotonic() - began:.0f} s, and nothing is left of it"
            yield judged(f"{what} is rolled back by itself, and the operator can log in", not left, seen)
    last = log_in_as_operator(drill)
    yield control("afterwards the operator can log in", last.code == 0, f"exit code {last.code}")
