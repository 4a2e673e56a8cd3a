"""A6: an admin's stolen SSH key, if a second factor is enabled."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attack_drill.connections import log_in
from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, failed, judged, not_played
from attack_drill.options import Level
from attack_drill.relay_steps import (
    Factor,
    factor_of,
    keep_access,
    log_in_as_operator,
    run_steps,
    sshd_values,
)
from attack_drill.second_factor import (
    EnrolledPerson,
    enroll_person,
    new_totp_seed,
    time_for_one_login,
    totp_code,
)
from attack_drill.security_key import Attestation, SecurityKey
from ops.hosts.connection import CommandResult

GUARD_SECONDS = 300
# What whoever stole a key tries with it alone.
WAYS = {
    "as the client does by itself": (),
    "publickey only": ("-o", "PreferredAuthentications=publickey"),
    "keyboard-interactive only": ("-o", "PreferredAuthentications=keyboard-interactive"),
    "password": ("-o", "PreferredAuthentications=password"),
    "host-based": ("-o", "PreferredAuthentications=hostbased"),
    "with a terminal": ("-tt",),
    "no command, a forward": ("-N", "-W", "127.0.0.1:22"),
}


def play(drill: Drill) -> Iterator[RowFinding]:
    if factor_of(drill) != "none":
        yield from _stolen_from_outside(drill)
        return
    if not drill.may(Level.TRIAL):
        yield not_played(
            "a stolen key against the second factor", "it is disabled on this stack; enabling it for a moment needs --trial-stack"
        )  # fmt: skip
        return
    yield control(
        "without a second factor the operator's key opens the relay",
        log_in_as_operator(drill).code == 0,
        "as expected",
    )
    with keep_access(drill), enroll_person(drill, "totp") as person:
        yield _switched_on(drill, "totp")
        yield from _totp(drill, person)
        yield _switched_on(drill, "fido2")
        yield from _fido2(drill, person)
    back = run_steps(drill.relay, "apply", "sshd", [sshd_values(drill)])[0]
    came = log_in_as_operator(drill)
    yield control(
        "with the factor disabled again the operator can log in",
        back.code == 0 and came.code == 0,
        back.words or f"exit code {came.code}",
    )


def _switched_on(drill: Drill, factor: Factor) -> RowFinding:
    """Enable a second factor by the program's own step. sshd does not ban failed logins, so that each try is judged for itself."""
    values = sshd_values(drill, factor, guard=GUARD_SECONDS, trusted=("0.0.0.0/0", "::/0"))
    went = run_steps(drill.relay, "apply", "sshd", [values], dialled="127.0.0.1")[0]
    return control(f"the second factor {factor} is enabled", went.code == 0, went.words or "live")


def _refused(what: str, done: CommandResult) -> RowFinding:
    """A login is BROKEN; a refusal by sshd's own message is HELD; anything else is an error."""
    said = done.err.strip().splitlines()
    seen = said[-1] if said else f"exit code {done.code}"
    if "uid=" in done.out or "SSH-2.0" in done.out or done.code == 0:
        return judged(what, False, f"it logged in: {done.out.strip()[:80]}")
    return judged(what, True, seen) if "Permission denied" in done.err else failed(what, seen)


def _stolen(drill: Drill, *where: str) -> Iterator[RowFinding]:
    """The engine's own key, from outside, in every way that an ssh client knows."""
    for way, options in WAYS.items():
        done = log_in(drill.relay, *where, *options, command=("id",))
        yield _refused(f"the admin's stolen key, {way}", done)


def _stolen_from_outside(drill: Drill) -> Iterator[RowFinding]:
    """Attack the relay as it is, at the address that the sources use, not through the tunnel that the drill uses."""
    config = drill.victim.run("cat", "/etc/lastcopy/ssh_config").out
    found = dict(re.findall(r"^ *(HostName|Port) (\S+)$", config, re.MULTILINE))
    yield control("through the tunnel that a person opened the operator can log in", log_in_as_operator(drill).code == 0, "as expected")  # fmt: skip
    ssh_answers = drill.victim.shell(
        f"ssh-keyscan -T 5 -t ed25519 -p {found['Port']} {found['HostName']}", check=False
    )
    yield control("the relay answers outside the tunnel", "ssh-ed25519" in ssh_answers.out, found["HostName"])
    yield from _stolen(drill, "-o", f"HostName={found['HostName']}", "-o", f"Port={found['Port']}")
    yield not_played("the person's key without the factor", "the drill has no person's key")


def _totp(drill: Drill, person: EnrolledPerson) -> Iterator[RowFinding]:
    at = time_for_one_login()
    good = totp_code(person.seed, at)
    came = person.log_in_through_tunnel(good, "id")
    yield control(
        "a person's key and code open the tunnel, and the operator can log in through it",
        "uid=0" in came.out,
        came.said.strip(),
    )
    yield from _stolen(drill)
    wrong = {
        "no code": "", "a guessed code": "000000", "the code of yesterday": totp_code(person.seed, at - 86400),
        "the code of tomorrow": totp_code(person.seed, at + 86400), "another person's code": totp_code(new_totp_seed(), at),
        "a code that was observed and used": good, "a long answer": "9" * 4000,
        "the seed itself": person.seed,
        "words": "let me in; id",
    }  # fmt: skip
    for what, answer in wrong.items():
        done = person.try_tunnel(answer)
        yield _refused(f"a person's stolen key with {what}", done)
    fresh = totp_code(person.seed, time_for_one_login() + 30)
    done = person.try_tunnel(fresh, "-o", "PubkeyAuthentication=no")
    yield _refused("a person's code without the key", done)


def _fido2(drill: Drill, person: EnrolledPerson) -> Iterator[RowFinding]:
    """The device is a double (security_key.py); the sshd that must refuse it is the relay's own."""
    device = person.device
    with device.plugged_in(drill.folder / "device", Attestation.BOTH) as options:
        came = person.log_in_through_tunnel("", "id", options=options)
    watched = device.last
    yield control(
        "a person's security key, touched and with its PIN, opens the tunnel, and the operator can log in through it",
        "uid=0" in came.out,
        came.said.strip(),
    )
    yield from _stolen(drill)
    yield _refused("a person's key in a file", person.try_tunnel(""))
    another = SecurityKey()
    tries = {
        "a person's security key, touched without its PIN": person.try_device(Attestation.TOUCHED),
        "a person's security key, with its PIN but untouched": person.try_device(Attestation.VERIFIED),
        "a person's security key, untouched and without its PIN": person.try_device(Attestation.NOTHING),
        "a signature without a PIN, altered to claim one": person.try_device(Attestation.TOUCHED, claimed=Attestation.BOTH),
        "a recorded signature": person.try_device(Attestation.BOTH, replayed=watched),
        "another person's security key": person.try_device(Attestation.BOTH, other=another),
        "another security key's signature under this one's name": person.try_device(
            Attestation.BOTH, replayed=another.sign(b"", Attestation.BOTH)
        ),
    }  # fmt: skip
    for what, done in tries.items():
        yield _refused(what, done)
    for user in (person.name, drill.relay.endpoint.user):
        says = drill.relay.run("sshd", "-T", "-C", f"user={user},host=x,addr=192.0.2.1").out.splitlines()
        wanted = {
            "pubkeyauthoptions verify-required", "authenticationmethods publickey", "passwordauthentication no",
            "pubkeyacceptedalgorithms sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com",
        }  # fmt: skip
        missing = sorted(wanted - set(says))
        yield judged(f"sshd requires of {user} a security key, its touch and its PIN", not missing, missing or "verify-required")  # fmt: skip
