"""S1: everything that an ssh client can ask for besides the forced command."""

from __future__ import annotations

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
from attack_drill.drill import SSH, Drill
from attack_drill.findings import RowFinding, control, judged
from attack_drill.http2 import RestResponse, Session, SessionEnded

WRAPPER = "/usr/local/lib/lastcopy/serve-restic"
FORCED = "Starting session: forced-command"
# {m}: a file that is created on the relay if the command is run there.
COMMANDS = (
    "touch {m}; id", "/bin/sh -c 'touch {m}; id'", "sh -i", "exec sh -c 'touch {m}'", "touch {m}\nid", "x\ntouch {m}\n",
    "serve-restic ; touch {m}", "x && touch {m}", "x || touch {m}", "| touch {m}", "& touch {m} &", "$(touch {m})", "`touch {m}`",
    "'; touch {m} #", '"; touch {m} #', '"\'; touch {m}; \'"', "$IFS;touch${{IFS}}{m}", ">{m}", "x >{m} 2>&1",
    "\\; touch {m}", "{{touch,{m}}}", "cat /etc/passwd; tee {m}", "sudo -n touch {m}",
    "{w} db1", "{w} x; touch {m}", "rclone config show", "rclone touch {m}", "rclone serve sftp --stdio /",
    "/usr/lib/openssh/sftp-server", "internal-sftp", "scp -t /tmp", "scp -f /etc/passwd", "rsync --server --sender . /etc/passwd",
    "env", "%s%s%n", "A" * 8000,
)  # fmt: skip
SERVERS = ("rclone serve restic --stdio /", "rclone serve restic --stdio lastcopy:", f"{WRAPPER} root")
LOG = "the relay's sshd started nothing but the forced command"


def _attempts(drill: Drill, made: Marks) -> list[Attempt]:
    ssh, config = drill.ssh("relay"), SSH[2]
    found: list[Attempt] = []

    def add(tried: str, *words: str) -> None:
        """Add an attempt; ``{m}`` in its words is replaced by its mark."""
        mark = made.name(len(found))
        found.append(Attempt(tried=tried, words=[word.replace("{m}", mark) for word in words]))

    for command in COMMANDS:
        text = command.format(m="{m}", w=WRAPPER)
        add(f"command {text[:60].replace('{m}', 'MARK')}", *ssh, text)
    for options in ("-t", "-tt", "-T"):
        add(f"ssh {options} with a command", *ssh[:-1], *options.split(), "relay", "touch {m}; tty; id")
    add(
        "a shell in a terminal",
        "sh",
        "-c",
        f"echo 'touch {{m}}; id' | timeout 6 {shlex.join([*ssh[:-1], '-tt', 'relay'])}",
    )
    add("a shell without a terminal", "sh", "-c", f"echo 'touch {{m}}; id' | timeout 6 {shlex.join(ssh)}")
    for subsystem in ("sftp", "netconf", "../../bin/sh", "touch {m}"):
        add(f"subsystem {subsystem.replace('{m}', 'MARK')}", *ssh[:-1], "-s", "relay", subsystem)
    for name, copy in (
        ("scp to the relay", "scp -F C /etc/hostname relay:{m}"),
        ("scp to the relay, old protocol", "scp -O -F C /etc/hostname relay:{m}"),
        ("scp from the relay", "scp -F C relay:/etc/passwd got1; cat got1"),
        ("scp from the relay, old protocol", "scp -O -F C relay:/etc/passwd got2; cat got2"),
        ("sftp to the relay", "echo 'put /etc/hostname {m}' | sftp -F C -b - relay"),
        ("sftp from the relay", "echo 'get /etc/passwd got3' | sftp -F C -b - relay; cat got3"),
        ("rsync", "command -v rsync || exit 1; rsync -e 'ssh -F C' relay:/etc/passwd got4; rsync -e 'ssh -F C' /etc/hostname relay:{m}; cat got4"),
    ):  # fmt: skip
        # These clients wait for an answer in their own protocol, which the relay does not speak.
        add(name, "timeout", "4", "sh", "-c", copy.replace("-F C", f"-F {config}"))
    given = "SSH_ORIGINAL_COMMAND=touch {m}"
    add("SSH_ORIGINAL_COMMAND by SendEnv", "env", given, *ssh[:-1], "-o", "SendEnv=*", "relay", "touch {m}")
    add("SSH_ORIGINAL_COMMAND by SetEnv", *ssh[:-1], "-o", f'SetEnv="{given}"', "relay")
    add("a second program in one connection", "sh", "-c", _second(ssh))
    return found


def _second(ssh: list[str]) -> str:
    """Ask for a second program over a connection whose forced command is running. Its output is that of the second one."""
    before, line = ssh[:-1], "{ sleep 4; } | timeout 8 M >/dev/null 2>&1 & sleep 2; timeout 4 S"
    first = shlex.join([*before, "-o", "ControlMaster=yes", "-o", "ControlPath=ctl", "relay"])
    second = shlex.join([*before, "-S", "ctl", "-o", "ProxyCommand=false", "relay", "touch {m}; id"])
    return line.replace("M", first, 1).replace("timeout 4 S", f"timeout 4 {second}")


def play(drill: Drill) -> Iterator[RowFinding]:
    own = _asked(drill.session())[0]
    yield control(
        "the source's key reaches its repository",
        own.status == 200 and bool(own.body),
        f"answer {own.status}",
    )
    since = journal_cursor(drill.relay)
    with track_marks(drill.relay) as made:
        attempts = _attempts(drill, made)
        results = run_attempts(drill.victim, attempts)
        left = made.left()
        for number, (attempt, ended) in enumerate(zip(attempts, results, strict=True)):
            ran = number in left
            yield judged(
                attempt.tried,
                not ran and shows_only_rclone(ended),
                f"a command RAN on the relay ({ended.seen})" if ran else ended.seen,
            )
    for command in SERVERS:
        answers = _asked(Session(drill.victim.words(*drill.ssh("relay"), command)))
        # A closed connection counts as a refusal.
        same = answers[0].status == 0 or (answers[0].status == 200 and answers[0].body == own.body)
        held = same and not any(b"root:" in answer.body for answer in answers)
        yield judged(
            f"asking for {command}",
            held,
            "its own repository was served" if held else "something else was served",
        )
    yield _other_accounts(drill)
    sessions = [
        line
        for line in read_journal(drill.relay, since, "-t", "sshd", "-t", "sshd-session")
        if "Starting session: " in line and f" for bk-{drill.source} " in line
    ]
    strange = [line for line in sessions if not (line.startswith(FORCED) and f"'{WRAPPER}" in line)]
    yield control("sshd's log contains the sessions", bool(sessions), f"{len(sessions)} sessions")
    yield judged(LOG, not strange, strange[:3] or f"{len(sessions)} sessions")


def _asked(opened: Session) -> list[RestResponse]:
    """What a session serves; empty answers if it is not HTTP/2."""
    paths = ("/config", "/etc/passwd", "/..")
    with opened as session:
        try:
            return [session.ask("GET", path) for path in paths]
        except SessionEnded:
            return [RestResponse() for _ in paths]


def _other_accounts(drill: Drill) -> RowFinding:
    """The source's key for other accounts; only a few, because sshd counts failed logins."""
    users = [
        "root",
        drill.relay.endpoint.user,
        *(f"bk-{name}" for name in [*drill.repositories] if name != drill.source),
    ][:4]
    words = [
        [word.replace(f"User=bk-{drill.source}", f"User={user}") for word in drill.ssh("relay")]
        for user in dict.fromkeys(users)
    ]
    ended = run_attempts(drill.victim, [Attempt(tried="", words=[*line, "id"]) for line in words])
    held = all(one.code == 255 and not one.out for one in ended)
    return judged(
        f"the key for the accounts {', '.join(dict.fromkeys(users))}", held, [one.seen for one in ended]
    )
