"""S2: channels besides the forced command, and what an account's home folder or a client could add to it."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator
from urllib.parse import urlsplit

from attack_drill.attempts import SETTINGS, Attempt, hold_open, run_attempts, track_marks
from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from components.relay.entry.rclone_config import ENVIRONMENT
from ops.hosts.connection import SshHost

DANGEROUS = (
    "RCLONE_CONFIG", "RCLONE_APPEND_ONLY", "RCLONE_S3_ENDPOINT", "RCLONE_HEADER_UPLOAD", "RCLONE_CONFIG_LASTCOPY_TYPE", "LD_PRELOAD", "LD_LIBRARY_PATH",
    "LD_AUDIT", "BASH_ENV", "ENV", "IFS", "PS4", "GODEBUG", "GOTRACEBACK", "AWS_CA_BUNDLE", "AWS_PROFILE", "HTTPS_PROXY", "SSL_CERT_FILE", "TMPDIR",
    "SSH_ORIGINAL_COMMAND", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "GCONV_PATH",
)  # fmt: skip
POLITE = (
    "LANG",
    "LC_ALL",
    "LC_DRILL",
)  # Debian's sshd accepts these by default; harmless to the wrapper, and never passed to rclone
RCLONE_HAS = {
    "PATH",
    "HOME",
    "LC_ALL",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "PWD",
    "OLDPWD",
    "_",
    "SHLVL",
    *ENVIRONMENT,
}
# Listening sockets of every kind, and network devices. Those below /run/user belong to systemd's manager for a login.
WATCH = "ss -Hlntux | tr -s ' ' | cut -d ' ' -f 1,5 | grep -v ' /run/user/' | sort -u; ip -o link | cut -d : -f 2 | tr -d ' '"
# One line for each of the account's processes: its name, then its environment.
ENVIRONMENTS = r"""
find /proc -maxdepth 1 -user "$1" -name '[0-9]*' | while read -r p; do
  printf '%s' "$(cat $p/comm 2>/dev/null)"; tr '\n\0' ' \n' <$p/environ 2>/dev/null | sed 's/^/\t/' | tr -d '\n'; echo
done
"""


def _watched(relay: SshHost) -> set[str]:
    return set(relay.shell(WATCH).out.split("\n"))


def play(drill: Drill) -> Iterator[RowFinding]:
    nonce = f"drill{secrets.token_hex(6)}"
    with track_marks(drill.relay) as made:
        before = _watched(drill.relay)
        socket = made.name(1)
        asked = {
            "-R 127.0.0.1:0": ["-R", "127.0.0.1:0:127.0.0.1:22"],
            "-R on every address": ["-R", "0.0.0.0:0:127.0.0.1:22"],
            "-R with a port": ["-R", "48123:127.0.0.1:22"],
            "-R as a SOCKS proxy": ["-R", "48124"],
            "-R as a socket in the file system": ["-R", f"{socket}:127.0.0.1:22"],
            "-A, the agent": ["-A"],
            "-X, X11": ["-X"],
            "-Y, trusted X11": ["-Y"],
            "-w, a tun device": ["-w", "any:any"],
        }
        options = [word for words in asked.values() for word in words]
        sent = " ".join(f'"{name}={nonce}"' for name in (*DANGEROUS, *POLITE))
        words = [
            "ssh-agent",
            "env",
            "DISPLAY=:7",
            *drill.ssh("-v", *options, "-o", f"SetEnv={sent}", "relay"),
        ]
        with hold_open(drill.victim, *words) as held:
            new = _watched(drill.relay) - before
            seen = _environments(drill.relay, f"bk-{drill.source}")
        yield control(
            "a session that asked for all of it is open",
            SETTINGS in held.first[:16],
            f"{len(held.first)} bytes came",
        )
        opened = {
            what: [line for line in sorted(new) if line.strip() and what in _whose(line, socket)]
            for what in asked
        }
        for what, lines in opened.items():
            if (
                what.startswith("-w")
                and b"Tunnel device open failed" in held.err
                and b"Requesting tun" not in held.err
            ):
                yield not_played(what, "the source's host gives its own root no tun device")
                continue
            yield judged(what, not lines, lines or "no new socket or device on the relay")
        yield from _environment(seen, nonce)
    yield from _outward(drill)
    if not drill.may(Level.SCRATCH):
        yield not_played("~/.ssh/rc, ~/.ssh/environment, ~/.ssh/authorized_keys", Level.SCRATCH.words)
        return
    yield from _home(drill)


def _whose(line: str, socket: str) -> tuple[str, ...]:
    """The requests that a new socket or device on the relay may belong to. A port that was chosen freely may belong to several."""
    if " " not in line:
        return ("-w, a tun device",)
    if socket in line:
        return ("-R as a socket in the file system",)
    if "/agent." in line:
        return ("-A, the agent",)
    port = line.rsplit(":", 1)[-1]
    known = {"48123": ("-R with a port",), "48124": ("-R as a SOCKS proxy",)}
    if port.startswith("60"):
        return ("-X, X11", "-Y, trusted X11")
    return known.get(port, ("-R 127.0.0.1:0", "-R on every address"))


def _environments(relay: SshHost, account: str) -> list[tuple[str, list[str]]]:
    lines = relay.run("sh", "-c", ENVIRONMENTS, "sh", account).out.splitlines()
    return [(line.split("\t")[0], line.split("\t")[1:]) for line in lines if line.strip()]


def _environment(seen: list[tuple[str, list[str]]], nonce: str) -> Iterator[RowFinding]:
    rclone = [words for name, words in seen if name == "rclone"]
    yield control(
        "rclone runs for the session and its environment can be read", bool(rclone), f"{len(seen)} processes"
    )
    for name in DANGEROUS:
        where = [
            process
            for process, words in seen
            if any(word.startswith(f"{name}=") and nonce in word for word in words)
        ]
        yield judged(
            f"SetEnv {name}", not where, f"reached {where}" if where else "in no process's environment"
        )
    strange = sorted({word.split("=")[0] for words in rclone for word in words} - RCLONE_HAS)
    sent = any(nonce in word for words in rclone for word in words)
    yield judged(
        "rclone's environment is the wrapper's own",
        not strange and not sent,
        strange or "only the wrapper's variables",
    )


def _outward(drill: Drill) -> Iterator[RowFinding]:
    """Connections through the relay, judged by what comes back; the client always opens its own end."""
    endpoint = urlsplit(drill.where.endpoint)
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
    storage = f"{endpoint.hostname}:{port}"
    yield from _channels(drill, storage)
    yield from _forwards(drill, storage)


def _channels(drill: Drill, storage: str) -> Iterator[RowFinding]:
    """`ssh -W` to everything that the relay could reach."""
    address = next(word for word in drill.ssh() if word.startswith("HostName=")).partition("=")[2]
    targets = {
        "the relay's own sshd": "127.0.0.1:22",
        "the relay's own sshd, IPv6": "[::1]:22",
        "the relay by its address": f"{address}:22",
        "the storage": storage,
        "the instance's metadata": "169.254.169.254:80",
        "the source itself": f"{drill.victim.endpoint.address}:{drill.victim.endpoint.port}",
    }
    line = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 6 "
    attempts = [
        Attempt(
            tried=f"-W to {what}", words=["sh", "-c", line + shlex.join(drill.ssh("-W", target, "relay"))]
        )
        for what, target in targets.items()
    ]
    for attempt, ended in zip(attempts, run_attempts(drill.victim, attempts), strict=True):
        yield judged(attempt.tried, not ended.out, ended.seen)


def _forwards(drill: Drill, storage: str) -> Iterator[RowFinding]:
    """Ports that the client opens, for one session with `-L` and `-D`."""
    first = 20000 + secrets.randbelow(10000)  # below the ports that Linux gives to outgoing connections
    local = {
        "-L to the relay's sshd": (["-L", f"127.0.0.1:{first}:127.0.0.1:22"], "x\\n"),
        "-L to a socket on the relay": (
            ["-L", f"127.0.0.1:{first + 1}:/run/dbus/system_bus_socket"],
            "\\0AUTH\\r\\n",
        ),
        "-L to the storage": (
            ["-L", f"127.0.0.1:{first + 2}:{storage}"],
            "GET / HTTP/1.0\\r\\n\\r\\n",
        ),
        "-D to the relay's sshd": (
            ["-D", f"127.0.0.1:{first + 3}"],
            "\\5\\1\\0\\5\\1\\0\\1\\177\\0\\0\\1\\0\\26",
        ),
    }
    options = [word for words, _ in local.values() for word in words]
    script = [
        # The relay may refuse before the second line is written; that failed write must not end the script.
        "trap '' PIPE",
        f"timeout 60 {shlex.join(drill.ssh('-N', *options, 'relay'))} &",
        f"for (( n = 0; n < 300; n++ )); do (: </dev/tcp/127.0.0.1/{first + 3}) 2>/dev/null && break; sleep 0.1; done",
    ]
    for number, (_, send) in enumerate(local.values()):
        # The client's SOCKS end answers with 2 bytes, and with 10 more once the channel is open.
        script.append(
            f"exec 3<>/dev/tcp/127.0.0.1/{first + number} && {{ printf '{send}' >&3; "
            "echo \"$(timeout 6 head -c 8 <&3 | od -An -tx1 | tr -d ' \\n')_\"; exec 3>&-; }"
        )
    done = drill.victim.run(
        "bash", "-c", "source /dev/stdin; kill %1; wait", stdin="\n".join(script) + "\n", check=False
    )
    came = [line.removesuffix("_") for line in done.out.splitlines() if line.endswith("_")]
    yield control(
        "the client's own ends accepted connections",
        len(came) == len(local) and came[3][:4] == "0500",
        f"{len(came)} of {len(local)}",
    )
    for what, got in zip(local, came, strict=False):
        mine = "0500" if what.startswith("-D") else ""
        yield judged(
            what,
            got == mine,
            f"{len(got) // 2} bytes came back: {got[:40]}" if got != mine else "nothing came through",
        )


def _home(drill: Drill) -> Iterator[RowFinding]:
    """Nothing in an account's home folder has an effect, even if the account can write there."""
    made, relay = drill.scratch_repository(), drill.relay
    home, nonce = f"/run/lastcopy-{made.name}", f"drill{secrets.token_hex(6)}"
    made.host.shell(
        f"cd {made.folder} && rm -f second second.pub && ssh-keygen -q -t ed25519 -N '' -C '' -f second"
    )
    second = made.host.run("cat", f"{made.folder}/second.pub").out
    with track_marks(relay) as left:
        try:
            relay.shell(
                f"install -d -o {made.account} -m 700 {home} {home}/.ssh && cat >{home}/.ssh/authorized_keys && "
                f"printf '#!/bin/sh\\ntouch {left.name(0)}\\n' >{home}/.ssh/rc && printf 'RCLONE_DRILL={nonce}\\n' >{home}/.ssh/environment && "
                f"chown -R {made.account} {home} && chmod 700 {home}/.ssh/rc && {_move(made.account, home)}",
                stdin=second,
            )
            with hold_open(made.host, *made.ssh, "relay") as held:
                seen = _environments(relay, made.account)
            yield control(
                "the account works with that home",
                SETTINGS in held.first[:16],
                f"{len(held.first)} bytes came",
            )
            yield judged(
                "~/.ssh/rc", 0 not in left.left(), "not run" if not left.left() else "it RAN on the relay"
            )
            reached = [name for name, words in seen if f"RCLONE_DRILL={nonce}" in words]
            yield judged(
                "~/.ssh/environment", not reached, reached or f"not read by any of {len(seen)} processes"
            )
            only = f"sed 's#IdentityFile .*#IdentityFile {made.folder}/second#' {made.folder}/ssh_config >other_config; exec ssh -F other_config relay"
            ended = run_attempts(made.host, [Attempt(tried="", words=["sh", "-c", only])])[0]
            yield judged(
                "~/.ssh/authorized_keys with another key", ended.code == 255 and not ended.out, ended.seen
            )
        finally:
            relay.shell(f"{_move(made.account, '/')}; rm -rf {home}", check=False)


def _move(account: str, home: str) -> str:
    """Shell that changes the account's home folder once its last processes have ended; systemd's own linger for seconds."""
    return (
        f"for n in 1 2 3 4 5 6; do find /proc -maxdepth 1 -user {account} -name '[0-9]*' -printf '%f\\n' | xargs -r kill -KILL; "
        f"usermod --home {home} {account} 2>/dev/null && break; sleep 0.5; done; "
        f'[ "$(getent passwd {account} | cut -d : -f 6)" = {home} ]'
    )
