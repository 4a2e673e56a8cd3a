"""Rows S1 to S7 on the running stack: root on web1, with web1's own key, against the relay that the engine built.

Variants by the dozen, with the sabotage of each guarantee, are in tests/scripts/relay; here the same attacker meets the whole chain, and the
storage's own list of versions is the judge.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import time
from collections.abc import Iterator

import pytest

from ops.drill.http2 import Gone, Request, Session
from tests.integration.checkout import Running
from tests.integration.store_view import BUCKET, versions

SSH = ("ssh", "-F", "/etc/lastcopy/ssh_config")
MARK = "/tmp/owned-by-a-source"
KINDS = ("keys", "data", "index", "snapshots")


@pytest.fixture(scope="module")
def victim(running: Running) -> Running:
    """web1 and db1 each have a snapshot."""
    for name in ("web1", "db1"):
        running.machines.shell(
            name, "mkdir -p /srv && date >/srv/stamp && systemctl start lastcopy-backup.service"
        )
    return running


@pytest.fixture
def session(victim: Running) -> Iterator[Session]:
    with Session(victim.machines.words("web1", *SSH, "relay")) as opened:
        yield opened


def attackers_ssh(victim: Running) -> list[str]:
    """web1's key in the attacker's own client: nothing of our client configuration holds him back."""
    address = str(victim.stack.outputs()["relay"]["address"])
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "User=bk-web1",
        f"HostName={address}",
    ]
    return [
        "ssh",
        "-F",
        "/dev/null",
        "-i",
        "/etc/lastcopy/id_ed25519",
        *(word for option in options for word in ("-o", option)),
    ]


def as_web1(victim: Running, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return victim.machines.run("web1", "timeout", "8", *command, check=False, seconds=seconds)


# --- S1: a shell, a command, a terminal, a file ---

COMMANDS = {
    "a command": [*SSH, "relay", f"touch {MARK}; id"],
    "a terminal": [*SSH, "-tt", "relay", f"touch {MARK}; id"],
    "a shell in a terminal": [*SSH, "-tt", "relay"],
    "scp": ["scp", "-F", SSH[2], "/etc/hostname", f"relay:{MARK}"],
    "scp by the old protocol": ["scp", "-O", "-F", SSH[2], "/etc/hostname", f"relay:{MARK}"],
    "sftp": ["sftp", "-F", SSH[2], "-b", "/dev/null", "relay"],
    "a subsystem": [*SSH, "-s", "relay", "sftp"],
    "another rclone": [*SSH, "relay", "rclone serve restic --stdio /"],
    "another room": [*SSH, "relay", "/usr/local/lib/lastcopy/serve-restic db1"],
    "a quote broken": [*SSH, "relay", f"'; touch {MARK}; '"],
    "a substitution": [*SSH, "relay", f"$(touch {MARK})"],
    "SSH_ORIGINAL_COMMAND set": [
        "env",
        f"SSH_ORIGINAL_COMMAND=touch {MARK}",
        *SSH,
        "-o",
        "SendEnv=*",
        "relay",
    ],
}


@pytest.mark.parametrize("what", COMMANDS)
def test_s1_only_the_forced_rclone_runs(victim: Running, what: str) -> None:
    done = as_web1(victim, *COMMANDS[what])
    assert "uid=" not in done.stdout + done.stderr
    assert victim.machines.run("relay", "test", "-e", MARK, check=False).returncode == 1


def test_s1_the_mark_is_seen_when_a_command_does_run(victim: Running) -> None:
    """Sabotage: without the three layers (key options, sshd rule, login shell) the same attempt leaves the mark."""
    key = victim.machines.run("web1", "cat", "/etc/lastcopy/id_ed25519.pub", check=False).stdout.strip()
    key = (
        key
        or victim.machines.run("web1", "ssh-keygen", "-y", "-f", "/etc/lastcopy/id_ed25519").stdout.strip()
    )
    open_door = (
        "useradd -m -s /bin/sh -G lastcopy-people weak && install -d -m 700 -o weak ~weak/.ssh && "
        f"echo '{key}' >~weak/.ssh/authorized_keys && chown weak ~weak/.ssh/authorized_keys && "
        "cp -a /etc/ssh/sshd_config.d/10-lastcopy.conf /root/kept.conf && "
        "sed -i '/^Match/,$d' /etc/ssh/sshd_config.d/10-lastcopy.conf && systemctl restart ssh"
    )
    close_door = (
        "mv /root/kept.conf /etc/ssh/sshd_config.d/10-lastcopy.conf; systemctl restart ssh; pkill -u weak; userdel -r weak; rm -f "
        + MARK
    )
    victim.machines.shell("relay", open_door)
    try:
        as_web1(victim, *SSH, "-l", "weak", "relay", f"touch {MARK}")
        assert victim.machines.run("relay", "test", "-e", MARK, check=False).returncode == 0
    finally:
        victim.machines.shell("relay", close_door, check=False)


# --- S2: channels beside the forced command ---


@pytest.mark.parametrize(
    "options",
    [
        ["-W", "127.0.0.1:22"],
        ["-W", "169.254.169.254:80"],
        ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22"],
        ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "/tmp/stolen.sock:127.0.0.1:22"],
        ["-N", "-o", "ExitOnForwardFailure=yes", "-w", "any:any"],
    ],
    ids=[
        "to the relay itself",
        "to the instance's metadata",
        "back into the source",
        "a socket on the relay",
        "a tunnel device",
    ],
)
def test_s2_no_channel_is_opened(victim: Running, options: list[str]) -> None:
    done = as_web1(victim, *attackers_ssh(victim), *options, "relay")
    assert done.returncode not in (0, 124), (done.stdout, done.stderr)
    assert "SSH-2.0" not in done.stdout


def test_s2_a_local_forward_carries_nothing(victim: Running) -> None:
    """The client always opens its own port; what counts is that nothing comes through it."""
    script = (
        f"timeout 8 {shlex.join(attackers_ssh(victim))} -N -L 127.0.0.1:18022:127.0.0.1:22 relay & sleep 2; "
        "timeout 4 sh -c 'exec 3<>/dev/tcp/127.0.0.1/18022; head -c 7 <&3'; kill %1"
    )
    assert "SSH-2.0" not in victim.machines.run("web1", "bash", "-c", script, check=False).stdout


# --- S4, S5, S6: raw HTTP over the forced command ---


def names(session: Session, kind: str) -> list[str]:
    answer = session.ask("GET", f"/{kind}/", accept="application/vnd.x.restic.rest.v2")
    assert answer.status == 200, answer
    return [entry["name"] for entry in json.loads(answer.body)]


def test_s4_delete_is_refused_and_nothing_is_gone(victim: Running, session: Session) -> None:
    before = versions(victim)
    paths = ["/config", "/", "/locks", "/locks/", "/data", "/data/", "/keys/../config", "/locks/../config"]
    for kind in KINDS:
        for name in names(session, kind)[:3]:
            paths += [
                f"/{kind}/{name}",
                f"//{kind}//{name}",
                f"/locks/../{kind}/{name}",
                f"/locks/%2e%2e/{kind}/{name}",
            ]
    assert len(paths) > 20
    for path, answer in zip(
        paths, session.together([Request("DELETE", path) for path in paths]), strict=True
    ):
        assert answer.status not in (200, 204), (path, answer)
    assert versions(victim) == before


def test_s5_no_existing_object_is_overwritten_alone_or_in_a_crowd(victim: Running, session: Session) -> None:
    before = versions(victim)
    targets = [f"/{kind}/{name}" for kind in KINDS for name in names(session, kind)[:2]] + ["/config"]
    assert len(targets) >= 5
    crowd = [Request("POST", target, b"garbage") for target in targets for _ in range(12)]
    for request, answer in zip(crowd, session.together(crowd), strict=True):
        assert answer.status != 200, (request.path, answer)
    after = versions(victim)
    assert {key: digest for key, digest in after.items() if key in before} == before
    assert {key for key, _ in after} == {key for key, _ in before}, "no new version of anything either"


def test_s5_of_many_first_uploads_of_one_name_one_stands(victim: Running) -> None:
    """The race that append-only alone loses: the storage's conditional write decides it, across connections."""
    name = hashlib.sha256(str(time.time()).encode()).hexdigest()
    words = victim.machines.words("web1", *SSH, "relay")
    with Session(words) as one, Session(words) as two:
        answers = []
        for session, letter in ((one, b"1"), (two, b"2")):
            session.start(Request("HEAD", "/config"))
            answers.append((session, [Request("POST", f"/data/{name}", letter * 2048) for _ in range(8)]))
        statuses = [answer.status for session, requests in answers for answer in session.together(requests)]
    assert statuses.count(200) == 1, statuses
    stored = [key for key, _ in versions(victim, contents=False) if key.endswith(name)]
    assert len(stored) == 1


ESCAPES = [
    "/../db1/g1/config", "/..%2fdb1%2fg1%2fconfig", "/%2e%2e/db1/g1/config", "/%2e%2e%2fdb1/g1/config", "/..%252fdb1/g1/config",
    "/%252e%252e/db1/g1/config", "/data/../../../db1/g1/config", "/data/..%2f..%2f..%2fdb1/g1/config", "//db1/g1/config",
    "/./../db1/g1/config", "/..\\db1\\g1\\config", "/..%5cdb1%5cg1%5cconfig", "/....//db1/g1/config", "/..;/db1/g1/config",
    "/%c0%ae%c0%ae/db1/g1/config", "/data/%00/../../db1/g1/config", "/db1/g1/config", f"/{BUCKET}/db1/g1/config",
    f"/../../{BUCKET}/db1/g1/config", "/../../etc/passwd", "/%2fetc%2fpasswd", "//etc/passwd", "/../", "/../../", "/..", "/../db1/", "/../db1/g1/keys/",
    "/../db1/g1/snapshots/", "/../../../proc/self/environ", "/keys/..%2f..%2f..%2fdb1%2fg1%2fconfig",
]  # fmt: skip


def test_s6_no_path_leads_out_of_the_sources_own_room(victim: Running, session: Session) -> None:
    before = versions(victim)
    with Session(victim.machines.words("db1", *SSH, "relay")) as db1:
        secret = db1.ask("GET", "/config").body
        theirs = set(names(db1, "keys")) | set(names(db1, "snapshots"))
    assert secret
    assert theirs
    for method in ("GET", "HEAD", "POST", "DELETE"):
        requests = [Request(method, path, b"x" if method == "POST" else b"") for path in ESCAPES]
        for request, answer in zip(requests, session.together(requests), strict=True):
            assert secret not in answer.body, request
            assert b"root:" not in answer.body, request
            assert not any(name.encode() in answer.body for name in theirs), request
    after = versions(victim)
    gone_or_changed = {key for key, digest in before.items() if after.get(key) != digest}
    assert not gone_or_changed
    assert not [key for key, _ in set(after) - set(before) if not key.startswith("web1/")]


# --- S7: nothing that names the storage reaches the source ---


def storage_names(victim: Running) -> list[str]:
    outputs = victim.machines.run("relay", "sh", "-c", "cat /etc/lastcopy/relay/web1/*.conf").stdout
    words = [BUCKET, "9000", "minio", "Minio", "s3:", "access_key", "AccessDenied", "RequestId"]
    endpoint = next(
        line.split("=", 1)[1].strip() for line in outputs.splitlines() if line.startswith("endpoint")
    )
    return [*words, endpoint, endpoint.removeprefix("https://").split(":")[0]]


def everything_said(victim: Running) -> str:
    """All that comes back over the forced command: headers, bodies, error texts, stderr, and restic's own words about it."""
    said = ""
    try:
        with Session(victim.machines.words("web1", *SSH, "relay"), patience=20) as session:
            for request in [
                Request(method, path)
                for method in ("GET", "POST", "DELETE", "PUT", "PATCH")
                for path in ("/", "/config", "/data/", "/x", *ESCAPES[:6])
            ]:
                answer = session.ask(request.method, request.path)
                said += f"{answer.status} {answer.headers} {answer.body[:2000]!r}\n"
            said += session.words()
    except Gone as gone:
        said += gone.words
    said += victim.machines.shell("web1", "timeout 6 restic-backup cat config 2>&1", check=False).stdout
    return said


def test_s7_neither_answers_nor_errors_name_the_storage(victim: Running) -> None:
    words = storage_names(victim)
    healthy = everything_said(victim)
    assert healthy
    assert [word for word in words if word in healthy] == []
    cut = "nft insert rule inet lastcopy output tcp dport 9000 drop"
    victim.machines.shell("relay", cut)
    try:
        broken = everything_said(victim)
        assert broken
        assert [word for word in words if word in broken] == []
    finally:
        victim.machines.shell("relay", "systemctl restart lastcopy-firewall.service")


def test_s7_nothing_on_the_source_names_the_storage(victim: Running) -> None:
    endpoint = storage_names(victim)[-2:]
    for word in endpoint:
        found = victim.machines.shell(
            "web1", f"grep -rIlF -e '{word}' /etc /var/lib/lastcopy /root /usr/local 2>/dev/null", check=False
        )
        assert found.stdout == ""
