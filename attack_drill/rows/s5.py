"""S5: overwriting existing objects: one request, many concurrent ones, malformed bodies, and while lookups fail."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import RestRequest, RestResponse, Session, SessionEnded
from attack_drill.options import Level
from attack_drill.rows.s4 import KINDS, list_names
from attack_drill.scratch_repository import ScratchRepository
from attack_drill.storage_admin import StorageAdmin, StoredVersion, find_losses
from attack_drill.storage_outage import cut_storage

CROWD = 12
SESSIONS = 2
RACERS = 10
PATIENCE = 10  # seconds
MIB = 1 << 20


def _objects(session: Session) -> list[str]:
    return ["/config", *(f"/{kind}/{name}" for kind in KINDS for name in list_names(session, kind))]


def spellings(path: str) -> list[str]:
    """Paths that a careless server or storage might read as the same object."""
    kind, _, name = path[1:].partition("/")
    return [
        path, f"/{path}", f"/.{path}", f"{path}/", f"{path}?", f"{path}?create=true", f"{path}#x", f"{path}%00", f"{path}%20", f"/x/..{path}",
        path.replace("/", "//"), f"/{kind}%2f{name}", f"/{kind}/%{ord(name[0]):02x}{name[1:]}" if name else "/%63onfig", path.upper(),
        f"/{kind}/{name[:2]}/{name}",
    ]  # fmt: skip


def play(drill: Drill) -> Iterator[RowFinding]:
    if not drill.may(Level.SCRATCH):
        yield not_played("overwriting objects", Level.SCRATCH.words)
        return
    scratch, storage = drill.scratch_repository(fresh=True), drill.require_storage()
    before = storage.versions(scratch.path)
    with scratch.session() as session:
        paths = _objects(session)
        fresh = f"/data/{secrets.token_hex(32)}"
        first = session.ask("POST", fresh, b"new")
        yield control(
            "a new object is accepted",
            first.status == 200 and len(paths) > 5,
            f"answer {first.status}, {len(paths)} objects exist",
        )
    before = storage.versions(scratch.path)
    for work in (_alone, _crowds, _bodies):
        yield from work(scratch, paths, storage, before)
    for after_their_look in (False, True):
        yield from _races(scratch, storage, after_their_look=after_their_look)
    if drill.may(Level.TRIAL):
        yield from _failed_look_up(drill, scratch, paths, storage, before)
    else:
        yield not_played("overwriting while the lookup fails", Level.TRIAL.words)
    damage = find_losses(before, storage.versions(scratch.path))
    yield judged(
        "nothing in the storage was covered, changed or removed",
        not damage,
        damage[:6] or f"{len(before)} versions as before",
    )
    yield judged("the known tree restores", *scratch.try_restore())


def _told(answers: list[RestResponse]) -> str:
    statuses = sorted({answer.status for answer in answers})
    return f"{len(answers)} requests, answers {statuses}"


def _alone(
    scratch: ScratchRepository, paths: list[str], storage: StorageAdmin, before: list[StoredVersion]
) -> Iterator[RowFinding]:
    spelt: list[str] = []
    with scratch.session() as session:
        for way in range(len(spellings("/config"))):
            requests = [RestRequest("POST", spellings(path)[way], b"garbage") for path in paths]
            # A spelling may create a new object of the source's own; that overwrites nothing.
            spelt.append(f"{requests[-1].path[-30:]}: {_told(session.together(requests))}")
        posing = [
            RestRequest(method, path, b"garbage")
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
        heads = session.together([RestRequest("POST", path, b"garbage", headers) for path in paths])
    damage = find_losses(before, storage.versions(scratch.path))
    for path in paths:
        mine = [line for line in damage if line.endswith(path.rsplit("/", 1)[1])]
        yield judged(
            f"POST {path[:24]} in {len(spelt)} spellings", not mine, mine or "content and version as before"
        )
    yield judged("PUT, PATCH, COPY, MOVE, post", not damage, damage[:3] or _told(other))
    yield judged("POST with headers that ask for an overwrite", not damage, damage[:3] or _told(heads))
    plain = [answer for answer in heads if answer.status == 200]
    yield judged("no overwrite is answered with success", not plain, _told(heads))


def _crowds(
    scratch: ScratchRepository, paths: list[str], storage: StorageAdmin, before: list[StoredVersion]
) -> Iterator[RowFinding]:
    """Many concurrent requests for each name, on several connections, all sent before an answer is read."""
    sessions = [scratch.session() for _ in range(SESSIONS)]
    try:
        requests = [
            RestRequest("POST", path, b"crowd" + bytes([number])) for path in paths for number in range(CROWD)
        ]
        for session in sessions:
            session.ask("HEAD", "/config")
        streams = [(session, [session.start(request) for request in requests]) for session in sessions]
        answers = [session.answer(stream) for session, started in streams for stream in started]
    finally:
        for session in sessions:
            session.close()
    damage = find_losses(before, storage.versions(scratch.path))
    done = [answer for answer in answers if answer.status == 200]
    yield judged(
        f"{CROWD} concurrent writes of each object, on {SESSIONS} connections",
        not damage and not done,
        damage[:3] or _told(answers),
    )


def _races(
    scratch: ScratchRepository, storage: StorageAdmin, *, after_their_look: bool
) -> Iterator[RowFinding]:
    """Many writers of a name that does not exist yet: exactly one must succeed, which rclone's lookup alone cannot ensure.

    With ``after_their_look`` no body is sent before rclone has asked for all of them, which it does once it has looked for the object and found
    none. One rclone handles one writer of a name at a time, so there is one writer for each connection. A storage may delay the second lookup
    until the first writer, who sent `If-None-Match`, has ended; the row does not wait for that.
    """
    racers = SESSIONS if after_their_look else RACERS
    won: dict[str, list[bytes]] = {f"/data/{secrets.token_hex(32)}": [] for _ in range(6)}

    def begun(session: Session, path: str, body: bytes) -> int:
        if not after_their_look:
            return session.start(RestRequest("POST", path, body))
        return session.begin(RestRequest("POST", path, headers=(("expect", "100-continue"),)), len(body))

    with scratch.session() as one, scratch.session() as two:
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
                "rclone had looked the names up and asked for bodies before one was sent", 2 * looked >= len(won), f"{looked} of {len(sent)} bodies",
            )  # fmt: skip
        for path, body, session, stream in sent:
            if session.answer(stream).status == 200:
                won[path].append(body)
        stored_now = {path: one.ask("GET", path).body for path in won}
    stored = storage.versions(scratch.path, contents=False)
    for path, winners in won.items():
        versions = sum(one.key.endswith(path.rsplit("/", 1)[1]) for one in stored)
        held = versions == 1 and winners == [stored_now[path]]
        yield judged(
            f"{racers} first writes {'after all their lookups' if after_their_look else 'at once on two connections'}",
            held,
            f"{len(winners)} were answered with success, {versions} version stored",
        )


def _bodies(
    scratch: ScratchRepository, paths: list[str], storage: StorageAdmin, before: list[StoredVersion]
) -> Iterator[RowFinding]:
    target = paths[-1]
    tries = {
        "a body without an end": (None, [b"\0" * MIB] * 6, False),
        "a body larger than claimed": (10, [b"x" * 5000], True),
        "a body smaller than claimed": (MIB, [b"x" * 10], True),
        "a claim of 100 GiB": (100 << 30, [b"\0" * MIB] * 3, False),
        "a body sent byte by byte": (30, [b"x"] * 10, False),
        "an empty body": (0, [b""], True),
        "a negative claim": (-1, [b"x"], True),
    }
    for what, (length, parts, ended) in tries.items():
        said = []
        try:
            # A short patience: the row does not wait for what is held open.
            with scratch.session(patience=4) as session:
                session.ask("HEAD", "/config")
                for path in (target, "/config"):
                    stream = session.begin(RestRequest("POST", path), length)
                    for number, part in enumerate(parts):
                        if not session.feed(stream, part, end=ended and number == len(parts) - 1):
                            break
                        if len(part) == 1:
                            time.sleep(0.1)
                    said.append(f"answer {session.answer(stream).status}" if ended else "left open")
        except SessionEnded as gone:
            said.append(f"connection closed ({gone.code})")
        damage = find_losses(before, storage.versions(scratch.path))
        yield judged(what, not damage, damage[:3] or " / ".join(said))


def _failed_look_up(
    drill: Drill,
    scratch: ScratchRepository,
    paths: list[str],
    storage: StorageAdmin,
    before: list[StoredVersion],
) -> Iterator[RowFinding]:
    """rclone's lookup of an existing object fails, and the body comes when the storage is back. rclone before 1.76 would upload it (PR 9925)."""
    said = []
    with scratch.session(patience=60) as session:
        session.ask("HEAD", "/config")
        with cut_storage(drill):
            streams = [session.begin(RestRequest("POST", path), 7) for path in paths]
            time.sleep(3)
            looked = session.ask(
                "HEAD", f"/data/{secrets.token_hex(32)}"
            ).status  # a name that rclone has not cached
        for stream in streams:
            session.feed(stream, b"garbage", end=True)
            said.append(session.answer(stream))
        again = session.ask("HEAD", "/config").status
    yield control(
        "lookups failed during the outage, and not afterwards",
        looked >= 500 and again == 200,
        f"answers {looked}, {again}",
    )
    damage = find_losses(before, storage.versions(scratch.path))
    done = [answer for answer in said if answer.status == 200]
    yield judged(
        "POST of every object while its lookup fails", not damage and not done, damage[:3] or _told(said)
    )
