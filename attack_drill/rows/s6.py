"""S6: paths that lead out of the source's own repository, by every spelling and method."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import RestRequest, RestResponse, Session, SessionEnded
from attack_drill.options import Level
from attack_drill.rows.s4 import KINDS, V2, list_names
from attack_drill.scratch_repository import ScratchRepository
from attack_drill.storage_admin import StorageAdmin, StoredVersion, find_losses

SECRETS = (b"root:", b"[lastcopy]", b"secret_access_key", b"127.0.0.1\tlocalhost")
GARBAGE = b"garbage of the drill"
METHODS = ("PUT", "PATCH", "COPY", "MOVE", "PROPFIND", "MKCOL", "PURGE", "OPTIONS", "TRACE", "X")


def escapes(steps: str, rest: str, outside: str) -> list[str]:
    """Paths that might mean "up by ``steps`` (``../..``), then ``rest``"; ``outside`` is the same place from the storage's root."""
    ups = steps.split("/")

    def up(word: str, slash: str = "/") -> str:
        return slash.join([word] * len(ups))

    encoded = rest.replace("/", "%2f")
    return [
        f"/{steps}/{rest}", f"//{steps}/{rest}", f"/./{steps}/{rest}", f"/{steps}//{rest}", f"/{steps}/./{rest}", f"/{up('..', '%2f')}%2f{encoded}",
        f"/{up('..', '%2F')}%2F{encoded.replace('%2f', '%2F')}", f"/{up('%2e%2e')}/{rest}", f"/{up('%2E%2E')}/{rest}", f"/{up('.%2e')}/{rest}",
        f"/{up('%2e.')}/{rest}", f"/{up('%2e%2e', '%2f')}%2f{encoded}", f"/{up('%252e%252e')}/{rest}", f"/{up('..', '%252f')}%252f{encoded}",
        f"/{up('%25252e%25252e')}/{rest}", f"/data/../{steps}/{rest}", f"/data/..%2f{up('..', '%2f')}%2f{encoded}", f"/data/%2e%2e/{up('%2e%2e')}/{rest}",
        f"/keys/../{steps}/{rest}", f"/locks/../{steps}/{rest}", f"/locks/%2e%2e/{up('%2e%2e')}/{rest}",
        f"/config/../{steps}/{rest}", f"/x/y/../../{steps}/{rest}",
        f"/{up('....')}/{rest}", f"/{up('....', '//')}//{rest}",
        f"/{up('..;')}/{rest}", f"/{up('..', chr(92))}{chr(92)}{rest.replace('/', chr(92))}",
        f"/{up('..', '%5c')}%5c{rest.replace('/', '%5c')}", f"/{up('%c0%ae%c0%ae')}/{rest}",
        f"/{up('%e0%80%ae%e0%80%ae')}/{rest}", f"/{up('%uff0e%uff0e')}/{rest}",
        f"/{up('%ef%bc%8e%ef%bc%8e')}/{rest}", f"/{up(chr(0x2025))}/{rest}", f"/{up('..%00')}/{rest}", f"/{up('..%20')}/{rest}", f"/{up('..%09')}/{rest}",
        f"/{up('..%0a')}/{rest}", f"/{up('..', '%ef%bc%8f')}%ef%bc%8f{rest}", f"/{up('..', '%c0%af')}%c0%af{rest}",
        f"/data/%00/../{steps}/{rest}", f"/?/../{steps}/{rest}",
        f"/{steps}/{rest}?create=true", f"/{steps}/{rest}#", f"/{rest}", f"//{rest}", f"/%2f{encoded}", f"/{outside}", f"//{outside}", f"/%2f{outside}",
        f"/../../../../../../{outside}", f"/lastcopy:{outside}", f"/lastcopy%3a{outside}", f"/:s3:{outside}", f"/:local:/{rest}", f"/data/lastcopy:{outside}",
        f"../{steps}/{rest}", f"{steps}/{rest}", f"http://localhost/{steps}/{rest}",
    ]  # fmt: skip


FILES = (
    "/../../../../../../etc/passwd", "//etc/passwd", "/%2fetc%2fpasswd", "/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "/:local:/etc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/hosts", "/../../../proc/self/environ", "/../../../proc/self/cmdline", "/../../../etc/lastcopy/relay/x/rclone.conf",
    "/rclone.conf", "/../rclone.conf", "/file:///etc/passwd", "/data/..%5c..%5c..%5cetc%5cpasswd",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Target:
    """A repository that the attacker must not reach.

    Args:
        what: Its name in findings.
        steps: The way up from the attacker's own repository.
        rest: The way down from there.
        outside: Its path from the storage's root.
        holds: What an answer from it would contain.
    """

    what: str
    steps: str
    rest: str
    outside: str
    holds: frozenset[bytes]

    def paths(self, *below: str) -> list[str]:
        return [path for one in below for path in escapes(self.steps, self.rest + one, self.outside + one)]


def _seen(what: str, steps: str, rest: str, outside: str, session: Session) -> Target:
    """A target, with what its owner reads from it."""
    config = session.ask("GET", "/config")
    holds = {config.body} if config.status == 200 else set()
    holds |= {name.encode() for kind in KINDS for name in list_names(session, kind)}
    return Target(what=what, steps=steps, rest=rest, outside=outside, holds=frozenset(holds - {b""}))


def _asked(session: Session, requests: Sequence[RestRequest]) -> list[RestResponse]:
    """The answers to all requests, sent in groups."""
    answers: list[RestResponse] = []
    for first in range(0, len(requests), 60):
        answers += session.together(requests[first : first + 60])
    return answers


def _own(drill: Drill, source: str) -> tuple[str, str]:
    """A source's repository, relative to the prefix of all sources (web1/g1/) and from the storage's root."""
    path = drill.path(source)
    return path.removeprefix(f"{drill.where.prefix.strip('/')}/").lstrip("/"), f"{drill.where.bucket}/{path}"


def play(drill: Drill) -> Iterator[RowFinding]:
    targets = []
    for other in drill.others[:1]:
        rest, outside = _own(drill, other)
        with drill.session(other) as theirs:
            targets.append(_seen(f"{other}'s repository", "../..", rest, outside, theirs))
    if not targets:
        yield not_played(
            "reading another source's repository",
            "no other source's host can be reached, so the drill does not know what its objects contain",
        )
    with drill.session() as session:
        works = session.ask("GET", "/config")
        theirs_read = all(len(target.holds) > 1 for target in targets)
        yield control(
            "each reads its own repository", works.status == 200 and theirs_read, f"answer {works.status}"
        )
        for target in targets:
            yield from _read(session, target)
        yield from _files(session)
    if not drill.may(Level.SCRATCH):
        yield not_played("writing and deleting in another repository", Level.SCRATCH.words)
        return
    yield from _harm(drill)


def _read(session: Session, target: Target) -> Iterator[RowFinding]:
    paths = target.paths("config", "keys/", "")
    tries = [
        RestRequest(method, path, b"", (("accept", V2),)) for method in ("GET", "HEAD") for path in paths
    ]
    lengths = {str(len(text)) for text in target.holds if len(text) > 100}
    for request, answer in zip(tries, _asked(session, tries), strict=True):
        leaked = any(text in answer.body for text in target.holds)
        told = (
            request.method == "HEAD"
            and answer.status == 200
            and answer.headers.get("content-length") in lengths
        )
        yield judged(
            f"{request.method} {request.path} for {target.what}",
            not leaked and not told,
            f"answer {answer.status}, {len(answer.body)} bytes",
        )


def _files(session: Session) -> Iterator[RowFinding]:
    tries = [RestRequest("GET", path) for path in FILES]
    for request, answer in zip(tries, _asked(session, tries), strict=True):
        leaked = [word.decode() for word in SECRETS if word in answer.body]
        yield judged(
            f"GET {request.path} for the relay's own files",
            not leaked,
            f"answer {answer.status}, {len(answer.body)} bytes",
        )


def _harm(drill: Drill) -> Iterator[RowFinding]:
    """From one scratch repository against another below the same prefix (one storage identity reaches both) and against another source's."""
    mine, storage = drill.scratch_repository(fresh=True), drill.require_storage()
    marks = [
        (f"a repository of {other}", drill.scratch_repository(other), "../..") for other in drill.others[:1]
    ]
    marks.append(("another repository below the source's own prefix", drill.scratch_repository(), ".."))
    if not drill.others:
        yield not_played(
            "writing and deleting in another source's repository", "no other source's host can be reached"
        )
    for what, victim, steps in marks:
        yield from _harm_repository(mine, storage, what, victim, steps, drill.where.bucket)
    yield from _elsewhere(drill, mine)


def _harm_repository(
    mine: ScratchRepository,
    storage: StorageAdmin,
    what: str,
    victim: ScratchRepository,
    steps: str,
    bucket: str,
) -> Iterator[RowFinding]:
    """Write and delete in ``victim`` from a session for ``mine``; judged by the storage before and after. ``steps``: the way up to both's parent."""
    rest = f"{victim.name}/" if steps == ".." else f"{victim.source}/{victim.name}/"
    with victim.session() as theirs:
        target = _seen(what, steps, rest, f"{bucket}/{victim.path}/", theirs)
    before = storage.versions(victim.path)
    stood = {one.key for one in before}
    tries = _harmful_requests(target, before, victim.path)
    with mine.session(patience=60) as session:
        listed = session.ask("GET", "/config").status
        answers = _tolerant(mine, session, tries)
    yield control(
        f"the attacker's session worked against {what}",
        listed == 200 and any(a.status for a in answers),
        f"answer {listed}",
    )
    after = storage.versions(victim.path, locks=True)
    damage = [
        *find_losses(before, after),
        *(f"added: {one.key}" for one in after if one.key not in stood and "/locks/" not in one.key),
    ]
    planted = [one.key for one in after if one.digest == hashlib.sha256(GARBAGE).hexdigest()]
    for method in ("POST", "DELETE", *METHODS):
        statuses = [
            answer.status for request, answer in zip(tries, answers, strict=True) if request.method == method
        ]
        yield judged(
            f"{method} by {len(statuses)} paths against {what}",
            not damage and not planted,
            (damage + planted)[:3] or f"answers {sorted(set(statuses))}",
        )
    leaked = [answer for answer in answers if any(text in answer.body for text in target.holds)]
    yield judged(f"no answer holds what is in {what}", not leaked, f"{len(leaked)} of {len(answers)} did")
    yield judged(f"{what} restores", *victim.try_restore())


def _harmful_requests(target: Target, before: Sequence[StoredVersion], prefix: str) -> list[RestRequest]:
    below = [
        "config",
        next(one.key for one in before if "/snapshots/" in one.key).partition(f"{prefix}/")[2],
        f"data/{'ab' * 32}",
        "locks/x",
    ]
    paths = target.paths(*below)
    tries = [
        RestRequest(method, path, GARBAGE if method == "POST" else b"")
        for method in ("POST", "DELETE")
        for path in paths
    ]
    tries += [
        RestRequest(method, path, GARBAGE) for method in METHODS for path in target.paths("config")[:12]
    ]
    made = [RestRequest("POST", f"{path}?create=true") for path in target.paths("")[:20]]
    return [*tries, *made]


def _tolerant(
    mine: ScratchRepository, session: Session, requests: Sequence[RestRequest]
) -> list[RestResponse]:
    """Send all requests; a group that breaks the connection is sent again on a new one. A closed connection counts as a refusal."""
    try:
        return _asked(session, requests)
    except SessionEnded:
        pass
    answers: list[RestResponse] = []
    for first in range(0, len(requests), 30):
        part = requests[first : first + 30]
        try:
            with mine.session() as again:
                answers += again.together(part)
        except SessionEnded:
            answers += [RestResponse() for _ in part]
    return answers


def _elsewhere(drill: Drill, mine: ScratchRepository) -> Iterator[RowFinding]:
    """Odd names may create odd objects, but only below the attacker's own prefix."""
    digest = hashlib.sha256(GARBAGE).hexdigest()
    everywhere = drill.require_storage().versions(f"{drill.where.prefix.strip('/')}/".lstrip("/"), locks=True)
    outside = [
        one.key for one in everywhere if one.digest == digest and not one.key.startswith(f"{mine.path}/")
    ]
    yield judged(
        "nothing was written outside the attacker's own repository",
        not outside,
        outside[:3] or f"{len(everywhere)} versions read",
    )
