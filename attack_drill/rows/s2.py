"""S2: channels beside the forced command, and what an account's home or a client could slip into it."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator
from urllib.parse import urlsplit

from attack_drill.attempts import SETTINGS, Attempt, batch, held_open, marks
from attack_drill.ground import Ground
from attack_drill.model import Finding, Level, control, judged, not_played
from components.relay.rclone_config import ENVIRONMENT
from ops.hosts.connection import Host

DANGEROUS = (
    "RCLONE_CONFIG", "RCLONE_APPEND_ONLY", "RCLONE_S3_ENDPOINT", "RCLONE_HEADER_UPLOAD", "RCLONE_CONFIG_LASTCOPY_TYPE", "LD_PRELOAD", "LD_LIBRARY_PATH",
    "LD_AUDIT", "BASH_ENV", "ENV", "IFS", "PS4", "GODEBUG", "GOTRACEBACK", "AWS_CA_BUNDLE", "AWS_PROFILE", "HTTPS_PROXY", "SSL_CERT_FILE", "TMPDIR",
    "SSH_ORIGINAL_COMMAND", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "GCONV_PATH",
)  # fmt: skip
POLITE = (
    "LANG",
    "LC_ALL",
    "LC_DRILL",
)  # what Debian's sshd takes by default; harmless to the wrapper, and never rclone's
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
# Listening sockets of every kind, and the network's devices. Below /run/user stand those of systemd's own manager for a login.
WATCH = "ss -Hlntux | tr -s ' ' | cut -d ' ' -f 1,5 | grep -v ' /run/user/' | sort -u; ip -o link | cut -d : -f 2 | tr -d ' '"
# One line for each of the account's processes: its name, then its environment.
ENVIRONMENTS = r"""
find /proc -maxdepth 1 -user "$1" -name '[0-9]*' | while read -r p; do
  printf '%s' "$(cat $p/comm 2>/dev/null)"; tr '\n\0' ' \n' <$p/environ 2>/dev/null | sed 's/^/\t/' | tr -d '\n'; echo
done
"""


def _watched(relay: Host) -> set[str]:
    return set(relay.shell(WATCH).out.split("\n"))


def play(ground: Ground) -> Iterator[Finding]:
    nonce = f"drill{secrets.token_hex(6)}"
    with marks(ground.relay) as made:
        before = _watched(ground.relay)
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
            *ground.ssh("-v", *options, "-o", f"SetEnv={sent}", "relay"),
        ]
        with held_open(ground.victim, *words) as held:
            new = _watched(ground.relay) - before
            seen = _environments(ground.relay, f"bk-{ground.source}")
        yield control(
            "a session stands that asked for all of it",
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
            yield judged(what, not lines, lines or "no socket and no device came up on the relay")
        yield from _environment(seen, nonce)
    yield from _outward(ground)
    if not ground.may(Level.THROWAWAY):
        yield not_played("~/.ssh/rc, ~/.ssh/environment, ~/.ssh/authorized_keys", Level.THROWAWAY.words)
        return
    yield from _home(ground)


def _whose(line: str, socket: str) -> tuple[str, ...]:
    """Which of the requests a new socket or device on the relay belongs to; of a free port nobody can tell."""
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


def _environments(relay: Host, account: str) -> list[tuple[str, list[str]]]:
    lines = relay.run("sh", "-c", ENVIRONMENTS, "sh", account).out.splitlines()
    return [(line.split("\t")[0], line.split("\t")[1:]) for line in lines if line.strip()]


def _environment(seen: list[tuple[str, list[str]]], nonce: str) -> Iterator[Finding]:
    rclone = [words for name, words in seen if name == "rclone"]
    yield control("rclone runs for the session and can be looked at", bool(rclone), f"{len(seen)} processes")
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
        "rclone's environment is the wrapper's own", not strange and not sent, strange or "its own words only"
    )


def _outward(ground: Ground) -> Iterator[Finding]:
    """Through the relay to somewhere: judged by what comes back. The client always opens its own end."""
    storage = urlsplit(ground.where.endpoint)
    port = storage.port or (443 if storage.scheme == "https" else 80)
    address = next(word for word in ground.ssh() if word.startswith("HostName=")).partition("=")[2]
    targets = {
        "the relay's own sshd": "127.0.0.1:22",
        "the relay's own sshd, IPv6": "[::1]:22",
        "the relay by its address": f"{address}:22",
        "the storage": f"{storage.hostname}:{port}",
        "the instance's metadata": "169.254.169.254:80",
        "the source itself": f"{ground.victim.door.address}:{ground.victim.door.port}",
    }
    line = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 6 "
    attempts = [
        Attempt(
            tried=f"-W to {what}", words=["sh", "-c", line + shlex.join(ground.ssh("-W", target, "relay"))]
        )
        for what, target in targets.items()
    ]
    for attempt, ended in zip(attempts, batch(ground.victim, attempts), strict=True):
        yield judged(attempt.tried, not ended.out, ended.seen)
    first = 20000 + secrets.randbelow(10000)  # below the ports that Linux gives to outgoing connections
    local = {
        "-L to the relay's sshd": (["-L", f"127.0.0.1:{first}:127.0.0.1:22"], "x\\n"),
        "-L to a socket on the relay": (
            ["-L", f"127.0.0.1:{first + 1}:/run/dbus/system_bus_socket"],
            "\\0AUTH\\r\\n",
        ),
        "-L to the storage": (
            ["-L", f"127.0.0.1:{first + 2}:{storage.hostname}:{port}"],
            "GET / HTTP/1.0\\r\\n\\r\\n",
        ),
        "-D to the relay's sshd": (
            ["-D", f"127.0.0.1:{first + 3}"],
            "\\5\\1\\0\\5\\1\\0\\1\\177\\0\\0\\1\\0\\26",
        ),
    }
    options = [word for words, _ in local.values() for word in words]
    script = [
        # The relay's refusal can be back before the second line is written: that write fails, and must not end the script.
        "trap '' PIPE",
        f"timeout 60 {shlex.join(ground.ssh('-N', *options, 'relay'))} &",
        f"for (( n = 0; n < 300; n++ )); do (: </dev/tcp/127.0.0.1/{first + 3}) 2>/dev/null && break; sleep 0.1; done",
    ]
    for number, (_, send) in enumerate(local.values()):
        # The client's own answer of its SOCKS end is 2 bytes, and 10 more once the channel stands.
        script.append(
            f"exec 3<>/dev/tcp/127.0.0.1/{first + number} && {{ printf '{send}' >&3; "
            "echo \"$(timeout 6 head -c 8 <&3 | od -An -tx1 | tr -d ' \\n')_\"; exec 3>&-; }"
        )
    done = ground.victim.run(
        "bash", "-c", "source /dev/stdin; kill %1; wait", stdin="\n".join(script) + "\n", check=False
    )
    came = [line.removesuffix("_") for line in done.out.splitlines() if line.endswith("_")]
    yield control(
        "the client's own ends took connections",
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


def _home(ground: Ground) -> Iterator[Finding]:
    """As if the account had a home that its owner can write: nothing in it counts."""
    made, relay = ground.throwaway(), ground.relay
    home, nonce = f"/run/lastcopy-{made.name}", f"drill{secrets.token_hex(6)}"
    made.host.shell(
        f"cd {made.folder} && rm -f second second.pub && ssh-keygen -q -t ed25519 -N '' -C '' -f second"
    )
    second = made.host.run("cat", f"{made.folder}/second.pub").out
    with marks(relay) as left:
        try:
            relay.shell(
                f"install -d -o {made.account} -m 700 {home} {home}/.ssh && cat >{home}/.ssh/authorized_keys && "
                f"printf '#!/bin/sh\\ntouch {left.name(0)}\\n' >{home}/.ssh/rc && printf 'RCLONE_DRILL={nonce}\\n' >{home}/.ssh/environment && "
                f"chown -R {made.account} {home} && chmod 700 {home}/.ssh/rc && {_move(made.account, home)}",
                stdin=second,
            )
            with held_open(made.host, *made.ssh, "relay") as held:
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
            ended = batch(made.host, [Attempt(tried="", words=["sh", "-c", only])])[0]
            yield judged(
                "~/.ssh/authorized_keys with another key", ended.code == 255 and not ended.out, ended.seen
            )
        finally:
            relay.shell(f"{_move(made.account, '/')}; rm -rf {home}", check=False)


def _move(account: str, home: str) -> str:
    """The account's home, once its last processes (systemd's own for the account linger for seconds) are ended."""
    return (
        f"for n in 1 2 3 4 5 6; do find /proc -maxdepth 1 -user {account} -name '[0-9]*' -printf '%f\\n' | xargs -r kill -KILL; "
        f"usermod --home {home} {account} 2>/dev/null && break; sleep 0.5; done; "
        f'[ "$(getent passwd {account} | cut -d : -f 6)" = {home} ]'
    )
