"""S5: overwriting what stands: alone, in crowds, by odd bodies, and while look-ups fail."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from attack_drill.ground import Ground
from attack_drill.http2 import Gone, Request, Response, Session
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.outage import storage_cut
from attack_drill.rows.s4 import KINDS, names
from attack_drill.storage import Desk, Stored, lost
from attack_drill.throwaway import Throwaway

CROWD = 12
SESSIONS = 2
RACERS = 10
PATIENCE = 10  # seconds
MIB = 1 << 20


def _objects(session: Session) -> list[str]:
    return ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in names(session, kind))]


def spellings(path: str) -> list[str]:
    """The same object, as a careless server or storage might take it."""
    kind, _, name = path[1:].partition("/")
    return [
        path, f"/{path}", f"/.{path}", f"{path}/", f"{path}?", f"{path}?create=true", f"{path}#x", f"{path}%00", f"{path}%20", f"/x/..{path}",
        path.replace("/", "//"), f"/{kind}%2f{name}", f"/{kind}/%{ord(name[0]):02x}{name[1:]}" if name else "/%63onfig", path.upper(),
        f"/{kind}/{name[:2]}/{name}",
    ]  # fmt: skip


def play(ground: Ground) -> Iterator[Finding]:
    if not ground.may(Level.THROWAWAY):
        yield not_played("overwriting objects", Level.THROWAWAY.words)
        return
    made, judge = ground.throwaway(fresh=True), ground.judge()
    before = judge.versions(made.path)
    with made.session() as session:
        paths = _objects(session)
        fresh = f"/data/{secrets.token_hex(32)}"
        first = session.ask("POST", fresh, b"new")
        yield control(
            "a new object is taken",
            first.status == 200 and len(paths) > 5,
            f"answer {first.status}, {len(paths)} objects stand",
        )
    before = judge.versions(made.path)
    for work in (_alone, _crowds, _bodies):
        yield from work(made, paths, judge, before)
    for after_their_look in (False, True):
        yield from _races(made, judge, after_their_look=after_their_look)
    if ground.may(Level.TRIAL):
        yield from _failed_look_up(ground, made, paths, judge, before)
    else:
        yield not_played("overwriting while the look-up fails", Level.TRIAL.words)
    damage = lost(before, judge.versions(made.path))
    yield judged(
        "nothing in the storage was covered, changed or removed",
        not damage,
        damage[:6] or f"{len(before)} versions as before",
    )
    yield judged("the known tree restores", *made.restored())


def _told(answers: list[Response]) -> str:
    statuses = sorted({answer.status for answer in answers})
    return f"{len(answers)} requests, answers {statuses}"


def _alone(made: Throwaway, paths: list[str], judge: Desk, before: list[Stored]) -> Iterator[Finding]:
    spelt: list[str] = []
    with made.session() as session:
        for way in range(len(spellings("/config"))):
            requests = [Request("POST", spellings(path)[way], b"garbage") for path in paths]
            # Where a spelling makes a strange new object of the source's own, that is no overwriting.
            spelt.append(f"{requests[-1].path[-30:]}: {_told(session.together(requests))}")
        posing = [
            Request(method, path, b"garbage")
            for method in ("PUT", "PATCH", "COPY", "MOVE", "post")
            for path in paths
        ]
        other = session.together(posing)
        headers = (
            ("x-http-method-override", "PUT"),
            ("if-match", "*"),
            ("if-none-match", ""),
            ("content-range", "bytes 0-6/7"),
            ("expect", "100-continue"),
        )
        heads = session.together([Request("POST", path, b"garbage", headers) for path in paths])
    damage = lost(before, judge.versions(made.path))
    for path in paths:
        mine = [line for line in damage if line.endswith(path.rsplit("/", 1)[1])]
        yield judged(
            f"POST {path[:24]} in {len(spelt)} spellings", not mine, mine or "content and version as before"
        )
    yield judged("PUT, PATCH, COPY, MOVE, post", not damage, damage[:3] or _told(other))
    yield judged("POST with headers that ask for an overwrite", not damage, damage[:3] or _told(heads))
    plain = [answer for answer in heads if answer.status == 200]
    yield judged("an overwrite is never said to be done", not plain, _told(heads))


def _crowds(made: Throwaway, paths: list[str], judge: Desk, before: list[Stored]) -> Iterator[Finding]:
    """Many at once for each name, on connections side by side, all sent before an answer is read."""
    sessions = [made.session() for _ in range(SESSIONS)]
    try:
        requests = [
            Request("POST", path, b"crowd" + bytes([number])) for path in paths for number in range(CROWD)
        ]
        for session in sessions:
            session.ask("HEAD", "/config")
        streams = [(session, [session.start(request) for request in requests]) for session in sessions]
        answers = [session.answer(stream) for session, started in streams for stream in started]
    finally:
        for session in sessions:
            session.close()
    damage = lost(before, judge.versions(made.path))
    done = [answer for answer in answers if answer.status == 200]
    yield judged(
        f"{CROWD} at once for each object, on {SESSIONS} connections",
        not damage and not done,
        damage[:3] or _told(answers),
    )


def _races(made: Throwaway, judge: Desk, *, after_their_look: bool) -> Iterator[Finding]:
    """Before an object exists, many write its name: one wins and stands. rclone's look alone would lose this.

    ``after_their_look``: no body is sent before rclone has asked for all of them, which it does once it has looked and found nothing. One
    rclone lets one writer of a name in at a time, so there is one for each connection. A storage may hold the second look back until the first
    writer, who said `If-None-Match`, has ended: that is not waited for.
    """
    racers = SESSIONS if after_their_look else RACERS
    won: dict[str, list[bytes]] = {f"/data/{secrets.token_hex(32)}": [] for _ in range(6)}

    def begun(session: Session, path: str, body: bytes) -> int:
        if not after_their_look:
            return session.start(Request("POST", path, body))
        return session.begin(Request("POST", path, headers=(("expect", "100-continue"),)), len(body))

    with made.session() as one, made.session() as two:
        for session in (one, two):
            session.ask("HEAD", "/config")
        sent = []
        for path in won:
            for number in range(racers):
                session = (one, two)[number % SESSIONS]
                body = f"{path} {number} ".encode() * 50
                sent.append((path, body, session, begun(session, path, body)))
        if after_their_look:
            deadline = time.monotonic() + PATIENCE
            looked = sum(session.called_for(stream, deadline) for _, _, session, stream in sent)
            for _, body, session, stream in sent:
                session.feed(stream, body, end=True)
            yield control(
                "rclone had looked and asked for bodies before one was sent", 2 * looked >= len(won), f"{looked} of {len(sent)} bodies",
            )  # fmt: skip
        for path, body, session, stream in sent:
            if session.answer(stream).status == 200:
                won[path].append(body)
        stands = {path: one.ask("GET", path).body for path in won}
    stored = judge.versions(made.path, contents=False)
    for path, winners in won.items():
        versions = sum(one.key.endswith(path.rsplit("/", 1)[1]) for one in stored)
        held = versions == 1 and winners == [stands[path]]
        yield judged(
            f"{racers} first writes {'whose looks all came before' if after_their_look else 'at once on two connections'}",
            held,
            f"{len(winners)} were told that theirs stands, {versions} version stored",
        )


def _bodies(made: Throwaway, paths: list[str], judge: Desk, before: list[Stored]) -> Iterator[Finding]:
    target = paths[-1]
    tries = {
        "a body without an end": (None, [b"\0" * MIB] * 6, False),
        "a body larger than claimed": (10, [b"x" * 5000], True),
        "a body smaller than claimed": (MIB, [b"x" * 10], True),
        "a claim of 100 GiB": (100 << 30, [b"\0" * MIB] * 3, False),
        "a body by drops": (30, [b"x"] * 10, False),
        "an empty body": (0, [b""], True),
        "a claim below zero": (-1, [b"x"], True),
    }
    for what, (length, parts, ended) in tries.items():
        said = []
        try:
            # Little patience: what is held open is not waited for.
            with made.session(patience=4) as session:
                session.ask("HEAD", "/config")
                for path in (target, "/config"):
                    stream = session.begin(Request("POST", path), length)
                    for number, part in enumerate(parts):
                        if not session.feed(stream, part, end=ended and number == len(parts) - 1):
                            break
                        if len(part) == 1:
                            time.sleep(0.1)
                    said.append(f"answer {session.answer(stream).status}" if ended else "left open")
        except Gone as gone:
            said.append(f"hung up ({gone.code})")
        damage = lost(before, judge.versions(made.path))
        yield judged(what, not damage, damage[:3] or " / ".join(said))


def _failed_look_up(
    ground: Ground, made: Throwaway, paths: list[str], judge: Desk, before: list[Stored]
) -> Iterator[Finding]:
    """The look for what stands fails; the body comes when the storage is back. An rclone below 1.76 would then upload (PR 9925)."""
    said = []
    with made.session(patience=60) as session:
        session.ask("HEAD", "/config")
        with storage_cut(ground):
            streams = [session.begin(Request("POST", path), 7) for path in paths]
            time.sleep(3)
            looked = session.ask(
                "HEAD", f"/data/{secrets.token_hex(32)}"
            ).status  # one that is not remembered
        for stream in streams:
            session.feed(stream, b"garbage", end=True)
            said.append(session.answer(stream))
        again = session.ask("HEAD", "/config").status
    yield control(
        "look-ups failed while the storage was cut off, and not afterwards",
        looked >= 500 and again == 200,
        f"answers {looked}, {again}",
    )
    damage = lost(before, judge.versions(made.path))
    done = [answer for answer in said if answer.status == 200]
    yield judged(
        "POST of every object while its look-up fails", not damage and not done, damage[:3] or _told(said)
    )
