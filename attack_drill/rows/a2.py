"""A2: secrets where they must not be: command lines, environments, journals, readable files, the engine's words, state, outputs, the stack file."""

from __future__ import annotations

import json
import re
import secrets as random
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from attack_drill.ground import Ground
from attack_drill.leaks import Known, Look, Seen, looking
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.watch import PROC, ProcWatch

KEY_FILES = ("/etc/lastcopy/id_ed25519", "/etc/ssh/ssh_host_ed25519_key")
PLACES = ("a command line or environment", "the journal")


def play(ground: Ground) -> Iterator[Finding]:
    known = Known(secrets=_secrets(ground), planted=f"planted{random.token_hex(16)}")
    yield control("the stack's secrets are known to the drill", len(known.secrets) >= 4, f"{len(known.secrets)}: {', '.join(known.secrets)}")  # fmt: skip
    with ExitStack() as open_:
        looks = [open_.enter_context(looking(host)) for host in ground.hosts.values()]
        watch = open_.enter_context(ProcWatch(pause=0.03)) if PROC.is_dir() else None
        with ThreadPoolExecutor(len(looks) + 1) as pool:
            texts = pool.submit(_shown, ground)
            yield from _at_work(ground)
            for look, seen in zip(looks, pool.map(lambda look: look.end(known), looks), strict=True):
                yield from _told_of_host(look, seen)
            shown = texts.result()
        if watch is not None:
            _plant_here(known.planted)
    if watch is None:
        yield not_played("command lines on this machine", "it has no /proc")
    else:
        found = known.in_bytes(watch.seen)
        yield control("the watch over this machine sees a planted secret", "planted" in found, f"{len(watch.seen)} command lines and environments")  # fmt: skip
        leaked = [name for name in found if name != "planted"]
        yield judged("command lines and environments on this machine", not leaked, leaked or "no secret")
    yield from _told_of_texts(ground, known, shown)


def _told_of_host(look: Look, seen: Seen) -> Iterator[Finding]:
    host = look.host
    eyes = [*PLACES, f"{look.folder}/careless, which all may read"]
    blind = [place for place in eyes if place not in seen.of("planted")]
    yield control(
        f"on {host.name} a planted secret is seen everywhere", not blind, f"not in: {', '.join(blind)}" if blind else "seen at work, in the journal, in a file",
    )  # fmt: skip
    files = [f"{name} in {place}" for name, place in seen.found if place not in PLACES and name != "planted"]
    for place in PLACES:
        leaked = [name for name in _names(seen) if place in seen.of(name)]
        yield judged(f"{place} on {host.name}", not leaked, leaked or "no secret")
    yield judged(f"files on {host.name} that all may read", not files, files or "no secret")
    for place in seen.cut_short:
        yield not_played(
            f"{place} on {host.name}", "it was not looked at to its end: there is too much of it"
        )


def _names(seen: Seen) -> list[str]:
    return sorted({name for name, _ in seen.found if name != "planted"})


def _told_of_texts(ground: Ground, known: Known, shown: Mapping[str, str]) -> Iterator[Finding]:
    public = str(ground.outputs["sources"][ground.source]["publicKey"]).split()[1]
    sees = Known(secrets={"the source's public key": public}, planted=known.planted)
    where = ["stack output", "stack export"]
    yield control("what is public is found in the same texts", all(sees.in_text(shown[name]) for name in where), ", ".join(where))  # fmt: skip
    for name, text in shown.items():
        leaked = known.in_text(text)
        yield judged(name, not leaked, leaked or f"no secret in {len(text)} characters")


def _secrets(ground: Ground) -> dict[str, str]:
    """Passwords, storage identities, private keys, seeds of second factors: by their names."""
    found = {
        f"password of {name}": str(text)
        for name, text in ground.stack.outputs(secrets=True).get("passwords", {}).items()
    }
    if ground.where.bucket:
        for name in ground.outputs["sources"]:
            found[f"storage identity of {name}"] = ground.thief(name).secret_access_key.get_secret_value()
    for host in ground.hosts.values():
        for file in KEY_FILES:
            found |= _key(f"{file} of {host.name}", host.run("cat", file, check=False).out)
        if host.door.key_file is not None:
            found |= _key("the admin's key", host.door.key_file.read_text())
    for line in ground.relay.shell("head -qn 1 /etc/lastcopy/totp/* 2>/dev/null", check=False).out.split():
        found[f"second factor {len(found)}"] = line
    return found


def _key(name: str, text: str) -> dict[str, str]:
    """The line of an OpenSSH private key that holds the secret half; of another format, its third from the end."""
    lines = text.split()
    body = [line for line in lines if re.fullmatch(r"[A-Za-z0-9+/=]{40,}", line)]
    return {name: body[3 if len(body) > 3 else -1]} if body else {}


def _at_work(ground: Ground) -> Iterator[Finding]:
    """What handles secrets, done once while everything is watched."""
    read = ground.victim.run("restic-backup", "cat", "config", "--no-lock", check=False, seconds=90)
    yield control("a source's restic works while it is watched", read.code == 0, f"exit code {read.code}")
    yield _step(ground)
    if not ground.may(Level.THROWAWAY):
        yield not_played("a backup and the relay's step, watched", Level.THROWAWAY.words)
        return
    made = ground.throwaway(fresh=True)
    done = made.restic("backup", "--quiet", "tree")
    yield control(
        "a new entry on the relay and a backup while everything is watched",
        done.code == 0,
        f"exit code {done.code}",
    )


def _step(ground: Ground) -> Finding:
    """A step that carries a secret, sent as the engine sends it: the look at the storage, which changes nothing."""
    from components.host.host_step import script_text  # here: recovery runs where no Pulumi is

    where = ground.where
    if not where.bucket:
        return not_played("a step that carries a storage identity", "this storage has none")
    thief = ground.thief()
    values = {
        "SOURCE": ground.source, "REPOSITORY": ground.path(), "ACCEPTED": "R1 R2 R4 S5",
        "ENDPOINT": where.endpoint, "REGION": where.region, "BUCKET": where.bucket, "PREFIX": ground.path().rpartition("g")[0],
        "LOCK_MODE": "GOVERNANCE", "MINIMUM_DAYS": "1", "CA": where.ca_certificate or "",
        "ACCESS_KEY_ID": thief.access_key_id, "SECRET_ACCESS_KEY": thief.secret_access_key.get_secret_value(),
    }  # fmt: skip
    done = ground.relay.run(
        "sh", "-s", "--", "check", stdin=script_text("storage_check", values), check=False
    )
    return control("a step with a secret runs on the relay while it is watched", done.code == 0, done.said)


def _plant_here(planted: str) -> None:
    subprocess.run(["sh", "-c", "sleep 2; :", "sh", planted], check=True, timeout=10)


def _shown(ground: Ground) -> dict[str, str]:
    """All that the engine shows to who has no passphrase, and what it keeps."""
    stack = ground.stack
    preview = stack.run("preview", "--diff", *stack.configured, quiet=True, check=False)
    texts = {
        "pulumi preview --diff": preview.stdout + preview.stderr,
        "stack output": json.dumps(ground.outputs),
        "stack export": stack.run("stack", "export", *stack.named, quiet=True).stdout,
        "the stack file": stack.file.read_text() if stack.file.exists() else "",
    }  # fmt: skip
    backend = str(stack.environment.get("PULUMI_BACKEND_URL", ""))
    if backend.startswith("file://"):
        kept = [file for file in Path(backend.removeprefix("file://").partition("?")[0]).rglob("*") if file.is_file()]  # fmt: skip
        texts["the state's files"] = "".join(file.read_text(errors="replace") for file in kept)
    return texts
