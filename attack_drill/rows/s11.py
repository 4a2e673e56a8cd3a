"""S11: a source's key that is stolen and used from another host; `from=`; and what cuts it off."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from attack_drill.attempts import (
    Attempt,
    Marks,
    journal_cursor,
    read_journal,
    run_attempts,
    shows_only_rclone,
    track_marks,
)
from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import RestRequest, Session, SessionEnded
from attack_drill.options import Level
from attack_drill.rows.s4 import KINDS, list_names
from attack_drill.scratch_folder import scratch_folder
from attack_drill.scratch_repository import (
    ENTRIES,
    KEYS,
    ScratchRepository,
    read_storage_access,
    run_entry_step,
)
from attack_drill.storage_admin import find_losses
from ops.hosts.connection import SshHost
from sandbox.waiting import becomes_true

ELSEWHERE = "192.0.2.77/32"  # from a range for documentation: nobody connects from there
SECONDS = 15


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played(
            "a stolen key from elsewhere",
            f"a source's own key is never copied to another host; {Level.SCRATCH.words}",
        )
        return
    if not drill.others:
        yield not_played("a stolen key from elsewhere", "no other host can be reached to use it from")
        return
    scratch, elsewhere = drill.scratch_repository(fresh=True), drill.hosts[drill.others[0]]
    with scratch_folder(elsewhere) as folder:
        ssh = _steal(scratch, elsewhere, folder)
        # Without the source's own `from=`, which the entry was copied with; `from=` is tried later.
        _set(drill.relay, scratch, re.sub(r',from="[^"]*"', "", _line(drill.relay, scratch)))
        yield from _same_limits(drill, scratch, elsewhere, ssh)
        yield from _from(drill, scratch, elsewhere, ssh)
        yield from _another_key(drill, scratch, elsewhere, ssh)
        yield from _cut_off(drill, scratch, elsewhere, ssh)
    yield judged("the known tree restores", *scratch.try_restore())


def _steal(scratch: ScratchRepository, elsewhere: SshHost, folder: str) -> list[str]:
    """Copy the source's key and client configuration to another host. Returns the ssh command there."""
    config = scratch.host.run("cat", f"{scratch.folder}/ssh_config").out
    config = re.sub(r"(?m)^( *)IdentityFile .*", rf"\1IdentityFile {folder}/key", config)
    config = re.sub(r"(?m)^( *)UserKnownHostsFile .*", rf"\1UserKnownHostsFile {folder}/known", config)
    key, known = (
        scratch.host.run("cat", f"{scratch.folder}/key").out,
        scratch.host.run("cat", "/etc/lastcopy/known_hosts").out,
    )
    for name, text in (("key", key), ("ssh_config", config), ("known", known)):
        elsewhere.run("sh", "-c", f"umask 077; cat >{folder}/{name}", stdin=text)
    return ["ssh", "-F", f"{folder}/ssh_config"]


def _alive(host: SshHost, ssh: list[str]) -> tuple[bool, str]:
    """Whether the relay serves that key from a host, and what was seen."""
    try:
        with Session(host.words(*ssh, "relay"), patience=20) as session:
            status = session.ask("HEAD", "/config").status
            return status == 200, f"answer {status}"
    except SessionEnded as gone:
        return False, f"exit {gone.code}: {gone.words.strip()[-80:]}"


def _same_limits(
    drill: Drill, scratch: ScratchRepository, elsewhere: SshHost, ssh: list[str]
) -> Iterator[RowFinding]:
    yield control("without `from=` the key works from elsewhere", *_alive(elsewhere, ssh))
    with track_marks(drill.relay) as left:
        attempts = _attempts(ssh, left)
        for attempt, ended in zip(attempts, run_attempts(elsewhere, attempts), strict=True):
            forwarded = attempt.tried.startswith("-W") and bool(ended.out)
            yield judged(
                f"from elsewhere: {attempt.tried}", shows_only_rclone(ended) and not forwarded, ended.seen
            )
        yield judged("no command ran on the relay", not left.left(), sorted(left.left()) or "no mark")
    storage = drill.require_storage()
    before = storage.versions(scratch.path)
    with Session(elsewhere.words(*ssh, "relay")) as session:
        paths = ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in list_names(session, kind))]
        answers = session.together(
            [
                RestRequest(method, path, b"garbage" if method == "POST" else b"")
                for method in ("DELETE", "POST")
                for path in paths
            ]
        )
    damage, statuses = (
        find_losses(before, storage.versions(scratch.path)),
        sorted({answer.status for answer in answers}),
    )
    yield judged(
        "from elsewhere: DELETE and overwriting of every object",
        not damage,
        damage[:3] or f"{len(answers)} requests, answers {statuses}",
    )


def _attempts(ssh: list[str], left: Marks) -> list[Attempt]:
    words = [
        ("a command", [*ssh, "relay", f"touch {left.name(0)}; id"]),
        ("a terminal", [*ssh, "-tt", "relay", f"touch {left.name(1)}; id"]),
        ("sftp", [*ssh, "-s", "relay", "sftp"]),
        ("another program", [*ssh, "relay", f"'; touch {left.name(3)}; id; '"]),
        (
            "-W to the relay's sshd",
            [
                "sh",
                "-c",
                f"echo x | {shlex.join([*ssh, '-o', 'ClearAllForwardings=no', '-W', '127.0.0.1:22', 'relay'])}",
            ],
        ),
    ]
    return [Attempt(tried=tried, words=line) for tried, line in words]


def _line(relay: SshHost, scratch: ScratchRepository) -> str:
    return relay.run("cat", f"{KEYS}/{scratch.account}").out


def _set(relay: SshHost, scratch: ScratchRepository, line: str) -> None:
    """Replace the key's line atomically, as the relay's step does it."""
    file = f"{KEYS}/{scratch.account}"
    relay.shell(f"cat >{file}.new && chmod 644 {file}.new && mv -f {file}.new {file}", stdin=line)


def _from(
    drill: Drill, scratch: ScratchRepository, elsewhere: SshHost, ssh: list[str]
) -> Iterator[RowFinding]:
    """`from=` as the stack's `allowedFrom` writes it."""
    relay, line = drill.relay, _line(drill.relay, scratch)
    bound = line.replace(" ssh-ed25519 ", f',from="{ELSEWHERE}" ssh-ed25519 ', 1)
    if bound == line:  # the line has no options
        bound = f'from="{ELSEWHERE}" {line}'
    since = journal_cursor(relay)
    here = _alive(scratch.host, scratch.ssh)
    found = re.findall(
        rf"Accepted publickey for {scratch.account} from (\S+) port",
        "\n".join(read_journal(relay, since, "-t", "sshd", "-t", "sshd-session")),
    )
    try:
        _set(relay, scratch, bound)
        works, seen = _alive(elsewhere, ssh)
        yield judged(f"with from={ELSEWHERE} the key is refused from elsewhere", not works, seen)
        works, seen = _alive(scratch.host, scratch.ssh)
        yield judged(f"with from={ELSEWHERE} it is refused from the source itself", not works, seen)
        if not found:
            yield control("the relay's log contains the source's address", False, here[1])
            return
        _set(relay, scratch, bound.replace(ELSEWHERE, f"{ELSEWHERE},{found[-1]}"))
        yield control(
            "with its own address in from= the source is served", *_alive(scratch.host, scratch.ssh)
        )
        works, seen = _alive(elsewhere, ssh)
        yield judged("with only the source's address in from= the stolen key is refused", not works, seen)
    finally:
        _set(relay, scratch, line)


def _processes(relay: SshHost, account: str) -> int:
    """How many processes an account has, without those that systemd keeps for a login."""
    script = (
        "find /proc -maxdepth 1 -user \"$1\" -name '[0-9]*' 2>/dev/null | while read -r p; do cat $p/comm 2>/dev/null; done | "
        "grep -vcE '^(systemd|\\(sd-pam\\))$'"
    )
    return int(relay.run("sh", "-c", script, "sh", account, check=False).out.strip() or 0)


def _ended(relay: SshHost, account: str) -> tuple[bool, str]:
    ended = becomes_true(lambda: not _processes(relay, account), SECONDS, 0.3)
    return ended, f"{0 if ended else _processes(relay, account)} processes of {account} are left"


def _another_key(
    drill: Drill, scratch: ScratchRepository, elsewhere: SshHost, ssh: list[str]
) -> Iterator[RowFinding]:
    """The source gets a new key by one change of the stack; the sessions of the stolen one must end."""
    scratch.host.shell(
        f"cd {scratch.folder} && rm -f next next.pub && ssh-keygen -q -t ed25519 -N '' -C '' -f next"
    )
    public = " ".join(scratch.host.run("cat", f"{scratch.folder}/next.pub").out.split()[:2])
    line = _line(drill.relay, scratch)
    renewed = re.sub(r"ssh-ed25519 \S+", public, line)
    with Session(elsewhere.words(*ssh, "relay"), patience=20) as session:
        stood = session.ask("HEAD", "/config").status == 200
        run_entry_step(drill.relay, "apply", **{**_entry(drill, scratch), "KEY_LINE": renewed})
        ended, seen = _ended(drill.relay, scratch.account)
        served = _still(session)
    yield control("the attacker had a session open", stood, "answer 200" if stood else "no answer")
    yield judged(
        "a new key for the source ends the stolen key's sessions",
        ended and not served,
        f"{seen}; {'STILL served' if served else 'cut'}",
    )
    works, seen = _alive(elsewhere, ssh)
    yield judged("the old key is refused", not works, seen)
    scratch.host.shell(f"cd {scratch.folder} && mv next key && mv next.pub key.pub")
    yield control("the source works with its new key", *_alive(scratch.host, scratch.ssh))


def _still(session: Session) -> bool:
    try:
        return session.ask("GET", "/config").status == 200
    except (SessionEnded, BrokenPipeError):
        return False


def _entry(drill: Drill, scratch: ScratchRepository) -> dict[str, str]:
    """The values of the scratch repository's entry as it is now."""
    serve = drill.relay.run("cat", f"{ENTRIES}/{scratch.name}/serve.conf").out
    sessions = re.search(r"^sessions (\d+)$", serve, re.MULTILINE)
    return {
        "SOURCE": scratch.name,
        "SERVE": serve,
        "SESSIONS": sessions[1] if sessions else "",
        "DAILY_BYTES": scratch.entry["DAILY_BYTES"],
        **read_storage_access(drill.relay, scratch.name, scratch.name),
        "KEY_LINE": _line(drill.relay, scratch),
    }


def _cut_off(
    drill: Drill, scratch: ScratchRepository, elsewhere: SshHost, ssh: list[str]
) -> Iterator[RowFinding]:
    """A source that is removed from the stack: its key is removed first, by a step on the relay only."""
    from components.host.program_texts import script_text

    elsewhere.run(
        "sh",
        "-c",
        f"umask 077; cat >{ssh[2].rsplit('/', 1)[0]}/key",
        stdin=scratch.host.run("cat", f"{scratch.folder}/key").out,
    )
    with Session(elsewhere.words(*ssh, "relay"), patience=20) as session, scratch.session() as own:
        stood = session.ask("HEAD", "/config").status == 200 and own.ask("HEAD", "/config").status == 200
        kept = _entry(drill, scratch)
        drill.relay.run("sh", "-s", "--", "remove", stdin=script_text("cutoff", {"SOURCE": scratch.name}))
        ended, seen = _ended(drill.relay, scratch.account)
        served = _still(session) or _still(own)
    yield control("the attacker and the source had sessions open", stood, "both answered")
    yield judged(
        "the cut-off ends every open session",
        ended and not served,
        f"{seen}; {'STILL served' if served else 'both were cut'}",
    )
    for who, host, words in (("the attacker", elsewhere, ssh), ("the source", scratch.host, scratch.ssh)):
        works, seen = _alive(host, words)
        yield judged(f"after the cut-off {who} is refused", not works, seen)
    scratch.run_step("apply", **{name: value for name, value in kept.items() if name != "SOURCE"})
