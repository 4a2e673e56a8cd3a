"""S4: DELETE over the forced command."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from attack_drill.ground import Ground
from attack_drill.http2 import Gone, Request, Session
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.storage import lost
from attack_drill.throwaway import Throwaway

KINDS = ("keys", "data", "index", "snapshots")
# By the relay itself. Another answer may mean that only the storage behind it refused.
REFUSED = (400, 403, 404, 405)
V2 = "application/vnd.x.restic.rest.v2"


def names(session: Session, kind: str) -> list[str]:
    """What the relay lists of one kind."""
    answer = session.ask("GET", f"/{kind}/", accept=V2)
    return [entry["name"] for entry in json.loads(answer.body)] if answer.status == 200 else []


def spellings(kind: str, name: str) -> list[str]:
    """One object's path, as it is and as a careless server might read it."""
    plain = f"{kind}/{name}"
    return [
        f"/{plain}", f"//{kind}//{name}", f"/./{plain}", f"/{plain}/", f"/{plain}?", f"/{plain}?create=true", f"/{plain}%00", f"/{plain}%20",
        f"/locks/../{plain}", f"/locks/%2e%2e/{plain}", f"/locks/..%2f{plain}", f"/locks/%252e%252e/{plain}", f"/{kind}%2f{name}",
        f"/{kind.upper()}/{name}", f"/x/../{plain}", f"/{kind}/../{plain}", f"/{kind}/{name[:2]}/{name}",
    ]  # fmt: skip


WHOLE = (
    "/config",
    "/",
    "//",
    "/data",
    "/data/",
    "/keys/",
    "/index/",
    "/snapshots/",
    "/keys/../config",
    "/locks/../config",
    "/locks/%2e%2e/config",
    "/.",
    "/*",
)


# Headers and methods by which a careless server could be brought to delete.
POSING = (
    ("POST", (("x-http-method-override", "DELETE"),)),
    ("POST", (("x-http-method", "DELETE"), ("x-method-override", "DELETE"))),
    ("GET", (("x-http-method-override", "DELETE"),)),
    ("delete", ()),
    ("DELETE ", ()),
    ("PURGE", ()),
    ("PUT", ()),
    ("MOVE", (("destination", "/data/x"),)),
    ("DELETE", (("if-match", "*"), ("x-rclone-append-only", "false"))),
)


def play(ground: Ground) -> Iterator[Finding]:
    yield from _nothing_there(ground)
    if not ground.may(Level.THROWAWAY):
        yield not_played("DELETE of every kind of object", Level.THROWAWAY.words)
        return
    made, judge = ground.throwaway(), ground.judge()
    before = judge.versions(made.path)
    with made.session() as session:
        listed = {kind: names(session, kind) for kind in KINDS}
        config = session.ask("GET", "/config")
        works = config.status == 200 and all(listed.values())
        yield control(
            "the attacker's session reads the repository",
            works,
            f"config {config.status}, {sum(map(len, listed.values()))} objects listed",
        )
        paths = [
            *WHOLE,
            *(path for kind, found in listed.items() for name in found[:3] for path in spellings(kind, name)),
        ]
        answers = session.together([Request("DELETE", path) for path in paths])
        plain = ["/config", *(f"/{kind}/{name}" for kind, found in listed.items() for name in found)]
    posed = _posed(made, plain)
    damage = lost(before, judge.versions(made.path))
    for path, answer in zip(paths, answers, strict=True):
        mine = [line for line in damage if path.rstrip("/").rsplit("/", 1)[-1] in line]
        yield judged(f"DELETE {path}", answer.status in REFUSED and not mine, f"answer {answer.status}")
    for what, seen in posed:
        yield judged(f"{what}, of {len(plain)} objects", not damage, damage[:3] or seen)
    yield judged(
        "nothing is gone, changed or hidden in the storage",
        not damage,
        damage or f"{len(before)} versions as before",
    )
    yield judged("the known tree restores", *made.restored())


def _nothing_there(ground: Ground) -> Iterator[Finding]:
    """In the source's own repository, of what never stood there: refused before anybody looks."""
    with ground.session() as session:
        read = session.ask("GET", "/config")
        yield control(
            "the source's session reads its repository", read.status == 200, f"answer {read.status}"
        )
        for kind in KINDS:
            answer = session.ask("DELETE", f"/{kind}/{secrets.token_hex(32)}")
            yield judged(
                f"DELETE below /{kind}/ of what is not there", answer.status == 403, f"answer {answer.status}"
            )


def _posed(made: Throwaway, paths: list[str]) -> list[tuple[str, str]]:
    """Each way on a session of its own: some servers hang up on a strange method."""
    found = []
    for method, headers in POSING:
        what = f"{method} with {', '.join(name for name, _ in headers) or 'no header'}"
        try:
            with made.session() as session:
                answers = session.together([Request(method, path, b"", headers) for path in paths])
            found.append((what, f"answers {sorted({answer.status for answer in answers})}"))
        except Gone as gone:
            found.append((what, f"hung up ({gone.code})"))
    return found
