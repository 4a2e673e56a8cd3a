"""S4: DELETE over the forced command."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ops.drill.ground import Ground
from ops.drill.http2 import Request, Session
from ops.drill.model import Finding, Level, control, judged, not_played
from ops.drill.storage import lost

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


def play(ground: Ground) -> Iterator[Finding]:
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
            *(path for kind, found in listed.items() for name in found for path in spellings(kind, name)),
        ]
        plain = [Request("DELETE", path) for path in paths]
        posing = [Request("POST", path, b"", (("x-http-method-override", "DELETE"),)) for path in paths[:20]]
        answers = session.together([*plain, *posing])
    damage = lost(before, judge.versions(made.path))
    for path, answer in zip(paths, answers, strict=False):
        mine = [line for line in damage if path.rstrip("/").rsplit("/", 1)[-1] in line]
        yield judged(f"DELETE {path}", answer.status in REFUSED and not mine, f"answer {answer.status}")
    yield judged("POST posing as DELETE", not damage, f"{len(posing)} sent")
    yield judged(
        "nothing is gone, changed or hidden in the storage",
        not damage,
        damage or f"{len(before)} versions as before",
    )
    yield judged("the known tree restores", *made.restored())
