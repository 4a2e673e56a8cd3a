"""S1: everything that ssh can ask for beside the forced command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from attack_drill.attempts import Attempt, Marks, batch, cursor, journal, marks, only_rclone
from attack_drill.ground import SSH, Ground
from attack_drill.http2 import Gone, Response, Session
from attack_drill.model import Finding, control, judged

WRAPPER = "/usr/local/lib/lastcopy/serve-restic"
FORCED = "Starting session: forced-command"
# {m}: a file on the relay that stands there when the words were run.
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


def _attempts(ground: Ground, made: Marks) -> list[Attempt]:
    ssh, config = ground.ssh("relay"), SSH[2]
    found: list[Attempt] = []

    def add(tried: str, *words: str) -> None:
        """``{m}`` in the words is this attempt's own mark."""
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
        # They wait for an answer in their own language, which nothing here speaks.
        add(name, "timeout", "4", "sh", "-c", copy.replace("-F C", f"-F {config}"))
    given = "SSH_ORIGINAL_COMMAND=touch {m}"
    add("SSH_ORIGINAL_COMMAND by SendEnv", "env", given, *ssh[:-1], "-o", "SendEnv=*", "relay", "touch {m}")
    add("SSH_ORIGINAL_COMMAND by SetEnv", *ssh[:-1], "-o", f'SetEnv="{given}"', "relay")
    add("a second program in one connection", "sh", "-c", _second(ssh))
    return found


def _second(ssh: list[str]) -> str:
    """One connection, its forced command running, and another asked for within it; what the second one says is what is seen."""
    before, line = ssh[:-1], "{ sleep 4; } | timeout 8 M >/dev/null 2>&1 & sleep 2; timeout 4 S"
    first = shlex.join([*before, "-o", "ControlMaster=yes", "-o", "ControlPath=ctl", "relay"])
    second = shlex.join([*before, "-S", "ctl", "-o", "ProxyCommand=false", "relay", "touch {m}; id"])
    return line.replace("M", first, 1).replace("timeout 4 S", f"timeout 4 {second}")


def play(ground: Ground) -> Iterator[Finding]:
    own = _asked(ground.session())[0]
    yield control(
        "the source's key reaches its repository",
        own.status == 200 and bool(own.body),
        f"answer {own.status}",
    )
    since = cursor(ground.relay)
    with marks(ground.relay) as made:
        attempts = _attempts(ground, made)
        results = batch(ground.victim, attempts)
        left = made.left()
        for number, (attempt, ended) in enumerate(zip(attempts, results, strict=True)):
            ran = number in left
            yield judged(
                attempt.tried,
                not ran and only_rclone(ended),
                f"a command RAN on the relay ({ended.seen})" if ran else ended.seen,
            )
    for command in SERVERS:
        answers = _asked(Session(ground.victim.words(*ground.ssh("relay"), command)))
        # Hung up on is refused.
        same = answers[0].status == 0 or (answers[0].status == 200 and answers[0].body == own.body)
        held = same and not any(b"root:" in answer.body for answer in answers)
        yield judged(
            f"asking for {command}",
            held,
            "its own repository was served" if held else "something else was served",
        )
    yield _other_accounts(ground)
    sessions = [
        line
        for line in journal(ground.relay, since, "-t", "sshd", "-t", "sshd-session")
        if "Starting session: " in line and f" for bk-{ground.source} " in line
    ]
    strange = [line for line in sessions if not (line.startswith(FORCED) and f"'{WRAPPER}" in line)]
    yield control("sshd's log tells of the sessions", bool(sessions), f"{len(sessions)} sessions")
    yield judged(LOG, not strange, strange[:3] or f"{len(sessions)} sessions")


def _asked(opened: Session) -> list[Response]:
    """What is served there; no answers where it is not HTTP/2."""
    paths = ("/config", "/etc/passwd", "/..")
    with opened as session:
        try:
            return [session.ask("GET", path) for path in paths]
        except Gone:
            return [Response() for _ in paths]


def _other_accounts(ground: Ground) -> Finding:
    """The same key for others' accounts; few, for sshd counts failures."""
    users = [
        "root",
        ground.relay.door.user,
        *(f"bk-{name}" for name in [*ground.rooms] if name != ground.source),
    ][:4]
    words = [
        [word.replace(f"User=bk-{ground.source}", f"User={user}") for word in ground.ssh("relay")]
        for user in dict.fromkeys(users)
    ]
    ended = batch(ground.victim, [Attempt(tried="", words=[*line, "id"]) for line in words])
    held = all(one.code == 255 and not one.out for one in ended)
    return judged(
        f"the key for the accounts {', '.join(dict.fromkeys(users))}", held, [one.seen for one in ended]
    )
