"""The rows: each plays its attacks on a peer and returns what was observed afterwards."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from attack_drill.http2 import RestRequest, Session, SessionEnded
from attack_drill.rows.s4 import list_names
from attack_drill.storage_admin import find_losses
from bench.farm import BUCKET, RELAY, BenchError
from bench.peers.peer import HELD, Peer

MARK = "/tmp/peer-was-here"  # noqa: S108 - on the relay, inside a machine of our own
TRICKS = (
    "touch {}",
    "$(touch {})",
    "`touch {}`",
    "; touch {}",
    "x\ntouch {}\n",
    "sh -c 'touch {}'",
    "'; touch {} #",
)
SESSIONS = 40
KINDS = ("keys", "data", "index", "snapshots")


def s1(peer: Peer) -> str:
    """Commands, terminals and copies: does one of them run on the relay?"""
    peer.farm.on(RELAY, f"rm -f {MARK}")
    tries = [f"timeout 6 {peer.ssh} {shlex.quote(trick.format(MARK))}" for trick in TRICKS]
    tries += [
        f"echo touch {MARK} | timeout 6 {peer.ssh} -tt",
        f"SSH_ORIGINAL_COMMAND='touch {MARK}' timeout 6 {peer.ssh}",
    ]
    peer.on_source(
        "; ".join(
            f"{one} </dev/null >/dev/null 2>&1" if "|" not in one else f"{one} >/dev/null 2>&1"
            for one in tries
        )
    )
    return (
        "fell: a command ran on the relay" if peer.farm.on(RELAY, f"ls {MARK} 2>/dev/null || true") else HELD
    )


def s3(peer: Peer) -> str:
    """restic's own destructive commands, as root on the source can run them."""
    before = peer.judge.versions(peer.way.prefix)
    restic = peer.way.restic.replace("restic-backup", "restic-backup --try-anyway")
    for words in (
        "forget --unsafe-allow-remove-all --tag ''",
        "prune",
        "tag --add x",
        "rewrite --forget --exclude 0000",
        "repair snapshots --forget",
    ):
        peer.on_source(f"timeout 8 sh -c {shlex.quote(f'{restic} {words}')} >/dev/null 2>&1")
        peer.on_source(f"timeout 20 sh -c {shlex.quote(f'{restic} unlock --remove-all')} >/dev/null 2>&1")
    harm = find_losses(before, peer.judge.versions(peer.way.prefix))
    return f"fell: {len(harm)} objects ({harm[0].split(':')[0]})" if harm else peer.restores()


def s4(peer: Peer) -> str:
    """DELETE of every object, and uploads under the names of the repository's folders."""
    before = peer.judge.versions(peer.way.prefix)
    with peer.session() as session:
        paths = ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in list_names(session, kind))]
        session.together([RestRequest("DELETE", path) for path in paths])
    harm = find_losses(before, peer.judge.versions(peer.way.prefix))
    if harm:
        return f"fell: {len(harm)} objects ({harm[0].split(':')[0]})"
    with peer.session() as session:
        session.together([RestRequest("POST", f"/{kind}", b"x") for kind in KINDS])
        listed = sum(len(list_names(session, kind)) for kind in KINDS)
    return HELD if listed >= len(paths) - 1 else "fell: an object named like a folder hides what is in it"


def s5(peer: Peer) -> str:
    """Overwriting existing objects, and the race that a lookup before the write loses."""
    before = peer.judge.versions(peer.way.prefix)
    with peer.session() as session:
        paths = ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in list_names(session, kind)[:2])]
        session.together([RestRequest("POST", path, b"garbage") for path in paths for _ in range(4)])
    harm = find_losses(before, peer.judge.versions(peer.way.prefix))
    if harm:
        return f"fell: {harm[0].split(':')[0]}"
    name = hashlib.sha256(peer.name.encode()).hexdigest()
    with peer.session() as one, peer.session() as two, ThreadPoolExecutor(2) as both:

        def upload(session: Session, letter: bytes) -> None:
            session.ask("HEAD", "/config")
            session.together([RestRequest("POST", f"/data/{name}", letter * 4096) for _ in range(8)])

        for racing in [both.submit(upload, one, b"1"), both.submit(upload, two, b"2")]:
            racing.result()
    stored = [one for one in peer.judge.versions(peer.way.prefix) if one.key.endswith(name)]
    return HELD if len(stored) == 1 else f"fell: a race wrote one name {len(stored)} times"


def s6(peer: Peer) -> str:
    """Paths that lead out of the own repository: is another source's object read or written?"""
    secret = peer.judge.call(
        lambda s3: s3.get_object(Bucket=BUCKET, Key=f"{peer.other}config")["Body"].read()
    )
    before = peer.judge.versions(peer.other)
    target = f"{peer.other}config"
    ups = (
        "/../",
        "/../../",
        "/%2e%2e/",
        "/%2e%2e/%2e%2e/",
        "/..%2f",
        "/..%2f..%2f",
        "/..%252f..%252f",
        "/data/../../../",
        "//../../",
        "/./../",
    )
    paths = [up + name for up in ups for name in (target, target.partition("/")[2])]
    try:
        with peer.session() as session:
            answers = session.together([RestRequest("GET", path) for path in paths])
            session.together(
                [RestRequest("POST", path.replace("config", "data/evil"), b"x") for path in paths]
            )
    except SessionEnded:
        return "fell: the session broke"
    if any(secret in answer.body for answer in answers):
        return "fell: another source's object was read"
    return (
        HELD
        if peer.judge.versions(peer.other) == before
        else "fell: another source's repository was written to"
    )


def s7(peer: Peer) -> str:
    """What the source learns about the storage, in normal operation and while the storage cannot be reached."""
    address = str(peer.farm.box.plan.storage)
    words = (address, ":9000", BUCKET, "AccessDenied", "minio")

    def said() -> str:
        told = ""
        try:
            with peer.session(patience=12) as session:
                for path in ("/config", "/data/", "/x", "/../x", "/snapshots/"):
                    for method in ("GET", "DELETE", "POST"):
                        answer = session.ask(method, path)
                        told += f"{answer.headers} {answer.body[:500]!r}"
                told += session.words()
        except SessionEnded as gone:
            told += gone.words
        return told

    healthy = said()
    peer.farm.on(RELAY, f"ip route add unreachable {address}/32")
    try:
        broken = said()
    finally:
        peer.farm.on(RELAY, f"ip route del unreachable {address}/32")
    found = sorted({word for word in words if word in healthy + broken})
    return f"fell: told {', '.join(found)}" if found else HELD


def s9(peer: Peer) -> str:
    """25 bogus key files whose names come first: does the source's restic still open the repository?"""
    with peer.session() as session:
        first = list_names(session, "keys")[0]
        good = json.loads(session.ask("GET", f"/keys/{first}").body)
        bodies = [
            json.dumps(
                {
                    **good,
                    "salt": hashlib.sha256(bytes([n])).hexdigest()[:88],
                    "created": f"2001-01-{n + 1:02}T00:00:00Z",
                }
            ).encode()
            for n in range(25)
        ]
        session.together(
            [RestRequest("POST", f"/keys/{hashlib.sha256(body).hexdigest()}", body) for body in bodies]
        )
    opened = peer.on_source(
        f"rm -rf {peer.way.cache}; timeout 60 sh -c {shlex.quote(f'{peer.way.restic} snapshots --no-lock --json')} 2>&1"
    )
    return HELD if '"short_id"' in opened else "fell: restic no longer finds a key"


def s10(peer: Peer) -> str:
    """Forty sessions, opened one after the other and all kept open: how many are served?"""
    served = 0
    with ExitStack() as held:
        for _ in range(SESSIONS):
            try:
                served += held.enter_context(peer.session()).ask("HEAD", "/config").status == 200
            except SessionEnded:
                continue  # refused: that is what the row is about
    if served == 0:
        raise BenchError(f"S10: {peer.name} serves no session at all")
    return (
        HELD
        if served < SESSIONS
        else f"fell: {served} of {SESSIONS} sessions are served at once, each by an rclone of its own"
    )


ROWS: dict[str, Callable[[Peer], str]] = {
    "S1": s1,
    "S3": s3,
    "S4": s4,
    "S5": s5,
    "S6": s6,
    "S7": s7,
    "S9": s9,
    "S10": s10,
}
