"""S11: a source's key, stolen and used from another host; `from=`; and what cuts it off."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator

from attack_drill.attempts import Attempt, Marks, batch, cursor, journal, marks, only_rclone, work_folder
from attack_drill.ground import Ground
from attack_drill.http2 import Gone, Request, Session
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.rows.s4 import KINDS, names
from attack_drill.storage import lost
from attack_drill.throwaway import KEYS, ROOM, Throwaway, enter_step, storage_access
from ops.hosts.connection import Host

ELSEWHERE = "192.0.2.77/32"  # of an address range for documentation: nobody dials from there
SECONDS = 15


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY):
        yield not_played(
            "a stolen key from elsewhere",
            f"a source's own key is never carried to another host; {Level.THROWAWAY.words}",
        )
        return
    if not ground.others:
        yield not_played("a stolen key from elsewhere", "no other host can be reached to use it from")
        return
    made, thief = ground.throwaway(fresh=True), ground.hosts[ground.others[0]]
    with work_folder(thief) as folder:
        ssh = _steal(made, thief, folder)
        # The source's own `from=`, which the throwaway's entry has taken over, comes later.
        _set(ground.relay, made, re.sub(r',from="[^"]*"', "", _line(ground.relay, made)))
        yield from _same_limits(ground, made, thief, ssh)
        yield from _from(ground, made, thief, ssh)
        yield from _another_key(ground, made, thief, ssh)
        yield from _cut_off(ground, made, thief, ssh)
    yield judged("the known tree restores", *made.restored())


def _steal(made: Throwaway, thief: Host, folder: str) -> list[str]:
    """Key and client configuration as they stand on the source, on another host."""
    config = made.host.run("cat", f"{made.folder}/ssh_config").out
    config = re.sub(r"(?m)^( *)IdentityFile .*", rf"\1IdentityFile {folder}/key", config)
    config = re.sub(r"(?m)^( *)UserKnownHostsFile .*", rf"\1UserKnownHostsFile {folder}/known", config)
    key, known = (
        made.host.run("cat", f"{made.folder}/key").out,
        made.host.run("cat", "/etc/lastcopy/known_hosts").out,
    )
    for name, text in (("key", key), ("ssh_config", config), ("known", known)):
        thief.run("sh", "-c", f"umask 077; cat >{folder}/{name}", stdin=text)
    return ["ssh", "-F", f"{folder}/ssh_config"]


def _alive(host: Host, ssh: list[str]) -> tuple[bool, str]:
    """Whether the relay serves that key from there."""
    try:
        with Session(host.words(*ssh, "relay"), patience=20) as session:
            status = session.ask("HEAD", "/config").status
            return status == 200, f"answer {status}"
    except Gone as gone:
        return False, f"exit {gone.code}: {gone.words.strip()[-80:]}"


def _same_limits(ground: Ground, made: Throwaway, thief: Host, ssh: list[str]) -> Iterator[Finding]:
    yield control("the key works from there, no `from` being set", *_alive(thief, ssh))
    with marks(ground.relay) as left:
        attempts = _attempts(ssh, left)
        for attempt, ended in zip(attempts, batch(thief, attempts), strict=True):
            forwarded = attempt.tried.startswith("-W") and bool(ended.out)
            yield judged(f"from elsewhere: {attempt.tried}", only_rclone(ended) and not forwarded, ended.seen)
        yield judged("no command ran on the relay", not left.left(), sorted(left.left()) or "no mark")
    judge = ground.judge()
    before = judge.versions(made.path)
    with Session(thief.words(*ssh, "relay")) as session:
        paths = ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in names(session, kind))]
        answers = session.together(
            [
                Request(method, path, b"garbage" if method == "POST" else b"")
                for method in ("DELETE", "POST")
                for path in paths
            ]
        )
    damage, statuses = lost(before, judge.versions(made.path)), sorted({answer.status for answer in answers})
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


def _line(relay: Host, made: Throwaway) -> str:
    return relay.run("cat", f"{KEYS}/{made.account}").out


def _set(relay: Host, made: Throwaway, line: str) -> None:
    """The key's line, replaced at once, as the relay's step does it."""
    file = f"{KEYS}/{made.account}"
    relay.shell(f"cat >{file}.new && chmod 644 {file}.new && mv -f {file}.new {file}", stdin=line)


def _from(ground: Ground, made: Throwaway, thief: Host, ssh: list[str]) -> Iterator[Finding]:
    """`from=` as the stack's `allowedFrom` writes it."""
    relay, line = ground.relay, _line(ground.relay, made)
    bound = line.replace(" ssh-ed25519 ", f',from="{ELSEWHERE}" ssh-ed25519 ', 1)
    if bound == line:  # no options at all: somebody has taken them away
        bound = f'from="{ELSEWHERE}" {line}'
    since = cursor(relay)
    here = _alive(made.host, made.ssh)
    found = re.findall(
        rf"Accepted publickey for {made.account} from (\S+) port",
        "\n".join(journal(relay, since, "-t", "sshd", "-t", "sshd-session")),
    )
    try:
        _set(relay, made, bound)
        works, seen = _alive(thief, ssh)
        yield judged(f"with from={ELSEWHERE} the key is refused from elsewhere", not works, seen)
        works, seen = _alive(made.host, made.ssh)
        yield judged(f"with from={ELSEWHERE} it is refused from the source itself", not works, seen)
        if not found:
            yield control("the relay's log tells where the source dials from", False, here[1])
            return
        _set(relay, made, bound.replace(ELSEWHERE, f"{ELSEWHERE},{found[-1]}"))
        yield control("with from=, the source itself comes in", *_alive(made.host, made.ssh))
        works, seen = _alive(thief, ssh)
        yield judged("with from=, the source's own address alone, the stolen key is refused", not works, seen)
    finally:
        _set(relay, made, line)


def _processes(relay: Host, account: str) -> int:
    """The account's, without those that systemd keeps for a login."""
    script = (
        "find /proc -maxdepth 1 -user \"$1\" -name '[0-9]*' 2>/dev/null | while read -r p; do cat $p/comm 2>/dev/null; done | "
        "grep -vcE '^(systemd|\\(sd-pam\\))$'"
    )
    return int(relay.run("sh", "-c", script, "sh", account, check=False).out.strip() or 0)


def _ended(relay: Host, account: str) -> tuple[bool, str]:
    deadline = time.monotonic() + SECONDS
    while (left := _processes(relay, account)) and time.monotonic() < deadline:
        time.sleep(0.3)
    return not left, f"{left} processes of {account} are left"


def _another_key(ground: Ground, made: Throwaway, thief: Host, ssh: list[str]) -> Iterator[Finding]:
    """The source gets a new key: one change of the stack, and what the stolen one had opened ends."""
    made.host.shell(
        f"cd {made.folder} && rm -f next next.pub && ssh-keygen -q -t ed25519 -N '' -C '' -f next"
    )
    public = " ".join(made.host.run("cat", f"{made.folder}/next.pub").out.split()[:2])
    line = _line(ground.relay, made)
    renewed = re.sub(r"ssh-ed25519 \S+", public, line)
    with Session(thief.words(*ssh, "relay"), patience=20) as session:
        stood = session.ask("HEAD", "/config").status == 200
        enter_step(ground.relay, "apply", **{**_entry(ground, made), "KEY_LINE": renewed})
        ended, seen = _ended(ground.relay, made.account)
        served = _still(session)
    yield control("the thief had a session open", stood, "answer 200" if stood else "no answer")
    yield judged(
        "a new key for the source ends the stolen one's sessions",
        ended and not served,
        f"{seen}; {'STILL served' if served else 'cut'}",
    )
    works, seen = _alive(thief, ssh)
    yield judged("the old key is refused", not works, seen)
    made.host.shell(f"cd {made.folder} && mv next key && mv next.pub key.pub")
    yield control("the source works with its new key", *_alive(made.host, made.ssh))


def _still(session: Session) -> bool:
    try:
        return session.ask("GET", "/config").status == 200
    except (Gone, BrokenPipeError):
        return False


def _entry(ground: Ground, made: Throwaway) -> dict[str, str]:
    """The throwaway's entry as it stands."""
    serve = ground.relay.run("cat", f"{ROOM}/{made.name}/serve.conf").out
    sessions = re.search(r"^sessions (\d+)$", serve, re.MULTILINE)
    return {
        "SOURCE": made.name,
        "SERVE": serve,
        "SESSIONS": sessions[1] if sessions else "",
        "DAILY_BYTES": made.entry["DAILY_BYTES"],
        **storage_access(ground.relay, made.name, made.name),
        "KEY_LINE": _line(ground.relay, made),
    }


def _cut_off(ground: Ground, made: Throwaway, thief: Host, ssh: list[str]) -> Iterator[Finding]:
    """A source that is taken out of the stack: its key goes first, by a step on the relay alone."""
    from components.host.host_step import script_text

    thief.run(
        "sh",
        "-c",
        f"umask 077; cat >{ssh[2].rsplit('/', 1)[0]}/key",
        stdin=made.host.run("cat", f"{made.folder}/key").out,
    )
    with Session(thief.words(*ssh, "relay"), patience=20) as session, made.session() as own:
        stood = session.ask("HEAD", "/config").status == 200 and own.ask("HEAD", "/config").status == 200
        kept = _entry(ground, made)
        ground.relay.run("sh", "-s", "--", "remove", stdin=script_text("cutoff", {"SOURCE": made.name}))
        ended, seen = _ended(ground.relay, made.account)
        served = _still(session) or _still(own)
    yield control("the thief and the source had sessions open", stood, "both answered")
    yield judged(
        "the cut-off ends every open session",
        ended and not served,
        f"{seen}; {'STILL served' if served else 'both were cut'}",
    )
    for who, host, words in (("the thief", thief, ssh), ("the source", made.host, made.ssh)):
        works, seen = _alive(host, words)
        yield judged(f"after the cut-off {who} is refused", not works, seen)
    made.step("apply", **{name: value for name, value in kept.items() if name != "SOURCE"})
