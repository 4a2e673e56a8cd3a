"""S4: DELETE over the forced command."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import RestRequest, Session, SessionEnded
from attack_drill.options import Level
from attack_drill.scratch_repository import ScratchRepository
from attack_drill.storage_admin import find_losses

KINDS = ("keys", "data", "index", "snapshots")
# Refused by the relay itself. Another answer may mean that only the storage behind it refused.
REFUSED = (400, 403, 404, 405)
V2 = "application/vnd.x.restic.rest.v2"


def list_names(session: Session, kind: str) -> list[str]:
    """The names that the relay lists of one kind of object."""
    answer = session.ask("GET", f"/{kind}/", accept=V2)
    return [entry["name"] for entry in json.loads(answer.body)] if answer.status == 200 else []


def spellings(kind: str, name: str) -> list[str]:
    """Paths that a careless server might read as one object's."""
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


# Methods and headers that a careless server might treat as a deletion.
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


def play(drill: Drill) -> Iterator[RowFinding]:
    yield from _nothing_there(drill)
    if not drill.may(Level.SCRATCH):
        yield not_played("DELETE of every kind of object", Level.SCRATCH.words)
        return
    scratch, storage = drill.scratch_repository(), drill.require_storage()
    before = storage.versions(scratch.path)
    with scratch.session() as session:
        listed = {kind: list_names(session, kind) for kind in KINDS}
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
        answers = session.together([RestRequest("DELETE", path) for path in paths])
        plain = ["/config", *(f"/{kind}/{name}" for kind, found in listed.items() for name in found)]
    posed = _posed(scratch, plain)
    damage = find_losses(before, storage.versions(scratch.path))
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
    yield judged("the known tree restores", *scratch.try_restore())


def _nothing_there(drill: Drill) -> Iterator[RowFinding]:
    """DELETE in the source's own repository of names that never existed: it must be refused before the storage is asked."""
    with drill.session() as session:
        read = session.ask("GET", "/config")
        yield control(
            "the source's session reads its repository", read.status == 200, f"answer {read.status}"
        )
        for kind in KINDS:
            answer = session.ask("DELETE", f"/{kind}/{secrets.token_hex(32)}")
            yield judged(
                f"DELETE below /{kind}/ of what is not there", answer.status == 403, f"answer {answer.status}"
            )


def _posed(scratch: ScratchRepository, paths: list[str]) -> list[tuple[str, str]]:
    """Try each way in a session of its own: some servers close the connection on an unknown method."""
    found = []
    for method, headers in POSING:
        what = f"{method} with {', '.join(name for name, _ in headers) or 'no header'}"
        try:
            with scratch.session() as session:
                answers = session.together([RestRequest(method, path, b"", headers) for path in paths])
            found.append((what, f"answers {sorted({answer.status for answer in answers})}"))
        except SessionEnded as gone:
            found.append((what, f"connection closed ({gone.code})"))
    return found
