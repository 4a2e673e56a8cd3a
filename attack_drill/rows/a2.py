"""A2: secrets in command lines, environments, journals, world-readable files, the engine's output, state, outputs or the stack file."""

from __future__ import annotations

import json
import re
import secrets as random
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from attack_drill.drill import Drill
from attack_drill.exposed_secrets import HostScan, HostWatch, KnownSecrets, watch_host
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.proc_watch import PROC, ProcWatch

KEY_FILES = ("/etc/lastcopy/id_ed25519", "/etc/ssh/ssh_host_ed25519_key")
PLACES = ("a command line or environment", "the journal")


def play(drill: Drill) -> Iterator[RowFinding]:
    known = KnownSecrets(secrets=_secrets(drill), planted=f"planted{random.token_hex(16)}")
    yield control("the stack's secrets are known to the drill", len(known.secrets) >= 4, f"{len(known.secrets)}: {', '.join(known.secrets)}")  # fmt: skip
    with ExitStack() as open_:
        watched = [open_.enter_context(watch_host(host)) for host in drill.hosts.values()]
        watch = open_.enter_context(ProcWatch(pause=0.03)) if PROC.is_dir() else None
        with ThreadPoolExecutor(len(watched) + 1) as pool:
            texts = pool.submit(_shown, drill)
            yield from _at_work(drill)
            for host, seen in zip(watched, pool.map(lambda one: one.scan(known), watched), strict=True):
                yield from _judge_host(host, seen)
            shown = texts.result()
        if watch is not None:
            _plant_here(known.planted)
    if watch is None:
        yield not_played("command lines on this machine", "it has no /proc")
    else:
        found = known.in_bytes(watch.seen)
        yield control(
            "recording this machine's processes finds a planted secret",
            "planted" in found,
            f"{len(watch.seen)} command lines and environments",
        )
        leaked = [name for name in found if name != "planted"]
        yield judged("command lines and environments on this machine", not leaked, leaked or "no secret")
    yield from _judge_texts(drill, known, shown)


def _judge_host(watch: HostWatch, seen: HostScan) -> Iterator[RowFinding]:
    host = watch.host
    eyes = [*PLACES, f"{watch.folder}/exposed, world-readable"]
    blind = [place for place in eyes if place not in seen.of("planted")]
    yield control(
        f"on {host.name} a planted secret is found everywhere", not blind, f"not in: {', '.join(blind)}" if blind else "in processes, the journal and a file",
    )  # fmt: skip
    files = [f"{name} in {place}" for name, place in seen.found if place not in PLACES and name != "planted"]
    for place in PLACES:
        leaked = [name for name in _names(seen) if place in seen.of(name)]
        yield judged(f"{place} on {host.name}", not leaked, leaked or "no secret")
    yield judged(f"world-readable files on {host.name}", not files, files or "no secret")
    for place in seen.cut_short:
        yield not_played(f"{place} on {host.name}", "not read to the end: it is too large")


def _names(seen: HostScan) -> list[str]:
    return sorted({name for name, _ in seen.found if name != "planted"})


def _judge_texts(drill: Drill, known: KnownSecrets, shown: Mapping[str, str]) -> Iterator[RowFinding]:
    public = str(drill.outputs["sources"][drill.source]["publicKey"]).split()[1]
    sees = KnownSecrets(secrets={"the source's public key": public}, planted=known.planted)
    where = ["stack output", "stack export"]
    yield control("a public key is found in the same texts", all(sees.in_text(shown[name]) for name in where), ", ".join(where))  # fmt: skip
    for name, text in shown.items():
        leaked = known.in_text(text)
        yield judged(name, not leaked, leaked or f"no secret in {len(text)} characters")


def _secrets(drill: Drill) -> dict[str, str]:
    """Passwords, storage identities, private keys and TOTP seeds, by names that may be shown."""
    found = {
        f"password of {name}": str(text)
        for name, text in drill.stack.outputs(secrets=True).get("passwords", {}).items()
    }
    if drill.where.bucket:
        for name in drill.outputs["sources"]:
            found[f"storage identity of {name}"] = drill.stolen_key(name).secret_access_key.get_secret_value()
    for host in drill.hosts.values():
        for file in KEY_FILES:
            found |= _key(f"{file} of {host.name}", host.run("cat", file, check=False).out)
        if host.endpoint.key_file is not None:
            found |= _key("the admin's key", host.endpoint.key_file.read_text())
    for line in drill.relay.shell("head -qn 1 /etc/lastcopy/totp/* 2>/dev/null", check=False).out.split():
        found[f"second factor {len(found)}"] = line
    return found


def _key(name: str, text: str) -> dict[str, str]:
    """A line of a private key file that contains secret data."""
    lines = text.split()
    body = [line for line in lines if re.fullmatch(r"[A-Za-z0-9+/=]{40,}", line)]
    return {name: body[3 if len(body) > 3 else -1]} if body else {}


def _at_work(drill: Drill) -> Iterator[RowFinding]:
    """Do once everything that handles secrets, while all processes are recorded."""
    read = drill.victim.run("restic-backup", "cat", "config", "--no-lock", check=False, seconds=90)
    yield control(
        "a source's restic works while processes are recorded", read.code == 0, f"exit code {read.code}"
    )
    yield _step(drill)
    if not drill.may(Level.SCRATCH):
        yield not_played("a backup and the relay's step, recorded", Level.SCRATCH.words)
        return
    scratch = drill.scratch_repository(fresh=True)
    done = scratch.restic("backup", "--quiet", "tree")
    yield control(
        "a new entry on the relay and a backup while processes are recorded",
        done.code == 0,
        f"exit code {done.code}",
    )


def _step(drill: Drill) -> RowFinding:
    """Send a step that contains a secret as the engine sends it: the check of the storage, which changes nothing."""
    from components.host.program_texts import script_text  # imported late: recovery runs without Pulumi

    where = drill.where
    if not where.bucket:
        return not_played("a step that contains a storage identity", "this storage has none")
    identity = drill.stolen_key()
    values = {
        "SOURCE": drill.source, "REPOSITORY": drill.path(), "ACCEPTED": "R1 R2 R4 S5",
        "ENDPOINT": where.endpoint, "REGION": where.region, "BUCKET": where.bucket, "PREFIX": drill.path().rpartition("g")[0],
        "LOCK_MODE": "GOVERNANCE", "MINIMUM_DAYS": "1", "CA": where.ca_certificate or "",
        "ACCESS_KEY_ID": identity.access_key_id, "SECRET_ACCESS_KEY": identity.secret_access_key.get_secret_value(),
    }  # fmt: skip
    done = drill.relay.run("sh", "-s", "--", "check", stdin=script_text("storage_check", values), check=False)
    return control(
        "a step with a secret runs on the relay while processes are recorded", done.code == 0, done.said
    )


def _plant_here(planted: str) -> None:
    subprocess.run(["sh", "-c", "sleep 2; :", "sh", planted], check=True, timeout=10)


def _shown(drill: Drill) -> dict[str, str]:
    """Everything that the engine shows to somebody without the passphrase, and what it stores."""
    stack = drill.stack
    preview = stack.run("preview", "--diff", *stack.configured, quiet=True, check=False)
    texts = {
        "pulumi preview --diff": preview.stdout + preview.stderr,
        "stack output": json.dumps(drill.outputs),
        "stack export": stack.run("stack", "export", *stack.named, quiet=True).stdout,
        "the stack file": stack.file.read_text() if stack.file.exists() else "",
    }  # fmt: skip
    backend = str(stack.environment.get("PULUMI_BACKEND_URL", ""))
    if backend.startswith("file://"):
        kept = [file for file in Path(backend.removeprefix("file://").partition("?")[0]).rglob("*") if file.is_file()]  # fmt: skip
        texts["the state's files"] = "".join(file.read_text(errors="replace") for file in kept)
    return texts
