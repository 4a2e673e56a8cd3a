"""A6: an admin's stolen SSH key, where a second factor is switched on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attack_drill.dial import alone
from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, failed, judged, not_played
from attack_drill.person import Person, code, enrolled, new_seed, now
from attack_drill.relay_sshd import Factor, access_kept, dials, factor_of, run_steps, sshd_values
from attack_drill.security_key import Says, SecurityKey
from ops.hosts.connection import Done

GUARD_SECONDS = 300
# What a thief of a key tries with it alone.
WAYS = {
    "as the client does by itself": (),
    "publickey only": ("-o", "PreferredAuthentications=publickey"),
    "keyboard-interactive only": ("-o", "PreferredAuthentications=keyboard-interactive"),
    "password": ("-o", "PreferredAuthentications=password"),
    "host-based": ("-o", "PreferredAuthentications=hostbased"),
    "with a terminal": ("-tt",),
    "no command, a forward": ("-N", "-W", "127.0.0.1:22"),
}


def play(ground: Ground) -> Iterator[Finding]:
    if factor_of(ground) != "none":
        yield from _stolen_from_outside(ground)
        return
    if not ground.may(Level.TRIAL):
        yield not_played(
            "a stolen key against the second factor", "it is switched off on this stack; to switch it on for a moment needs --trial-stack"
        )  # fmt: skip
        return
    yield control(
        "with the factor off the operator's key opens the relay", dials(ground).code == 0, "as it must"
    )
    with access_kept(ground), enrolled(ground, "totp") as person:
        yield _switched_on(ground, "totp")
        yield from _totp(ground, person)
        yield _switched_on(ground, "fido2")
        yield from _fido2(ground, person)
    back = run_steps(ground.relay, "apply", "sshd", [sshd_values(ground)])[0]
    came = dials(ground)
    yield control("with the factor off again the operator comes in", back.code == 0 and came.code == 0, back.words or f"exit code {came.code}")  # fmt: skip


def _switched_on(ground: Ground, factor: Factor) -> Finding:
    """By the program's own step; nobody is banned for a while after a refusal, for each try must be judged for itself."""
    values = sshd_values(ground, factor, guard=GUARD_SECONDS, trusted=("0.0.0.0/0", "::/0"))
    went = run_steps(ground.relay, "apply", "sshd", [values], dialled="127.0.0.1")[0]
    return control(f"the second factor {factor} is switched on", went.code == 0, went.words or "live")


def _refused(what: str, done: Done) -> Finding:
    """Opened is broken; refused by sshd's own word is held; anything else is no answer to the question."""
    said = done.err.strip().splitlines()
    seen = said[-1] if said else f"exit code {done.code}"
    if "uid=" in done.out or "SSH-2.0" in done.out or done.code == 0:
        return judged(what, False, f"it came in: {done.out.strip()[:80]}")
    return judged(what, True, seen) if "Permission denied" in done.err else failed(what, seen)


def _stolen(ground: Ground, *where: str) -> Iterator[Finding]:
    """The engine's own key, from outside, in every way that a client knows."""
    for way, options in WAYS.items():
        done = alone(ground.relay, *where, *options, command=("id",))
        yield _refused(f"the admin's stolen key, {way}", done)


def _stolen_from_outside(ground: Ground) -> Iterator[Finding]:
    """The relay as it runs: where the sources dial it, and not through the tunnel that this drill came by."""
    config = ground.victim.run("cat", "/etc/lastcopy/ssh_config").out
    found = dict(re.findall(r"^ *(HostName|Port) (\S+)$", config, re.MULTILINE))
    yield control("through the tunnel that a person opened the operator comes in", dials(ground).code == 0, "as it must")  # fmt: skip
    ssh_answers = ground.victim.shell(
        f"ssh-keyscan -T 5 -t ed25519 -p {found['Port']} {found['HostName']}", check=False
    )
    yield control("the relay answers outside the tunnel", "ssh-ed25519" in ssh_answers.out, found["HostName"])
    yield from _stolen(ground, "-o", f"HostName={found['HostName']}", "-o", f"Port={found['Port']}")
    yield not_played("the person's key without the factor", "the drill has no person's key")


def _totp(ground: Ground, person: Person) -> Iterator[Finding]:
    at = now()
    good = code(person.seed, at)
    came = person.bring_in(good, "id")
    yield control(
        "a person's key and code open the tunnel, and through it the operator comes in",
        "uid=0" in came.out,
        came.said.strip(),
    )
    yield from _stolen(ground)
    wrong = {
        "no code": "", "a guessed code": "000000", "the code of yesterday": code(person.seed, at - 86400),
        "the code of tomorrow": code(person.seed, at + 86400), "another person's code": code(new_seed(), at),
        "a code that was watched and used": good, "a long answer": "9" * 4000,
        "the seed itself": person.seed,
        "words": "let me in; id",
    }  # fmt: skip
    for what, answer in wrong.items():
        done = person.try_tunnel(answer)
        yield _refused(f"a person's stolen key with {what}", done)
    fresh = code(person.seed, now() + 30)
    done = person.try_tunnel(fresh, "-o", "PubkeyAuthentication=no")
    yield _refused("a person's code without the key", done)


def _fido2(ground: Ground, person: Person) -> Iterator[Finding]:
    """The device is a double in software (security_key.py); sshd is the relay's own, and its word is what counts."""
    device = person.device
    with device.plugged_in(ground.folder / "device", Says.BOTH) as options:
        came = person.bring_in("", "id", options=options)
    watched = device.last
    yield control(
        "a person's security key, touched and with its PIN, opens the tunnel, and through it the operator comes in",
        "uid=0" in came.out,
        came.said.strip(),
    )
    yield from _stolen(ground)
    yield _refused("a person's key that lives in a file", person.try_tunnel(""))
    thief = SecurityKey()
    tries = {
        "a person's security key, touched by a thief who has no PIN": person.try_device(Says.TOUCHED),
        "a person's security key, with its PIN and untouched": person.try_device(Says.VERIFIED),
        "a person's security key, untouched and without its PIN": person.try_device(Says.NOTHING),
        "a signature without a PIN, on its way made one with it": person.try_device(Says.TOUCHED, claimed=Says.BOTH),
        "a signature that was watched": person.try_device(Says.BOTH, replayed=watched),
        "another person's security key": person.try_device(Says.BOTH, other=thief),
        "another security key's signature under this one's name": person.try_device(
            Says.BOTH, replayed=thief.sign(b"", Says.BOTH)
        ),
    }  # fmt: skip
    for what, done in tries.items():
        yield _refused(what, done)
    for user in (person.name, ground.relay.door.user):
        says = ground.relay.run("sshd", "-T", "-C", f"user={user},host=x,addr=192.0.2.1").out.splitlines()
        wanted = {
            "pubkeyauthoptions verify-required", "authenticationmethods publickey", "passwordauthentication no",
            "pubkeyacceptedalgorithms sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com",
        }  # fmt: skip
        missing = sorted(wanted - set(says))
        yield judged(f"of {user} sshd demands a security key and its owner's touch and PIN", not missing, missing or "verify-required")  # fmt: skip
