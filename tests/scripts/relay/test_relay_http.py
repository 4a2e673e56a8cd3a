"""S4 to S7: whatever is said in HTTP over the forced command, nothing is removed, overwritten, reached or named that must not be."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from ops.drill.http2 import Gone, Request, Session
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import IDENTITIES

NAME = "ab" * 32
KINDS = ("keys", "data", "index", "snapshots")


@pytest.fixture
def session(ready: Chain) -> Iterator[Session]:
    """A session of web1 whose repository holds one object of each kind."""
    with Session(ready.forced("web1")) as opened:
        opened.ask("POST", "/?create=true")
        for path in ["/config", *(f"/{kind}/{NAME}" for kind in KINDS)]:
            if opened.ask("HEAD", path).status != 200:
                assert opened.ask("POST", path, b"good").status == 200
        yield opened


def good(session: Session, path: str) -> bool:
    answer = session.ask("GET", path)
    return (answer.status, answer.body) == (200, b"good")


OBJECTS = ["/config", *(f"/{kind}/{NAME}" for kind in KINDS)]


@pytest.mark.parametrize("path", OBJECTS)
def test_deleting_is_refused_and_nothing_is_gone(session: Session, path: str) -> None:
    for spelling in (
        path,
        f"{path}/",
        f"/{path}",
        path.replace("/", "//"),
        f"{path}?create=true",
        f"{path}%2f",
    ):
        assert session.ask("DELETE", spelling).status in (400, 403, 404, 405), spelling
    assert good(session, path)


def test_a_lock_can_be_removed(session: Session) -> None:
    """The one thing that restic must delete; without it every backup would leave a stale lock."""
    assert session.ask("POST", f"/locks/{NAME}", b"lock").status == 200
    assert session.ask("DELETE", f"/locks/{NAME}").status == 200
    assert session.ask("HEAD", f"/locks/{NAME}").status == 404


@pytest.mark.parametrize("path", OBJECTS)
def test_overwriting_is_refused_alone_and_at_once(session: Session, path: str) -> None:
    assert session.ask("POST", path, b"evil").status == 403
    answers = session.together([Request("POST", path, b"evil") for _ in range(40)])
    assert {answer.status for answer in answers} == {403}
    assert good(session, path)


@pytest.mark.parametrize("round_", range(3))
def test_of_many_first_writes_one_wins_and_stays(session: Session, round_: int) -> None:
    """The race before an object exists: one answer is 200, and what it wrote is what stands."""
    name = f"{round_:02x}" + session_mark()
    answers = session.together(
        [Request("POST", f"/data/{name}", str(number).encode() * 100) for number in range(24)]
    )
    won = [number for number, answer in enumerate(answers) if answer.status == 200]
    stands = session.ask("GET", f"/data/{name}").body
    assert len(won) >= 1
    assert stands in {str(number).encode() * 100 for number in won}
    # Written once: whoever else was told 200 would have been overwritten.
    assert len(won) == 1


def session_mark() -> str:
    return secrets.token_hex(31)


def test_two_sessions_racing_for_one_name_write_it_once(ready: Chain, session: Session) -> None:
    with Session(ready.forced("web1")) as other:
        for _ in range(5):
            path = f"/data/cd{session_mark()}"
            first = session.start(Request("POST", path, b"first"))
            second = other.ask("POST", path, b"second")
            mine = session.ask("HEAD", "/config")  # drains the first answer
            assert mine.status == 200
            stands = session.ask("GET", path).body
            assert stands in (b"first", b"second")
            assert (second.status == 200) == (stands == b"second"), (first, second)


METHODS = [
    "PUT",
    "PATCH",
    "COPY",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "LINK",
    "PURGE",
    "delete",
    "X",
]


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_change_nothing(ready: Chain, session: Session, method: str) -> None:
    with Session(ready.forced("web1")) as other:
        try:
            status = other.ask(method, OBJECTS[2], b"evil").status
        except Gone:
            status = 0  # hung up: as good as refused
    assert status in (0, 200, 400, 403, 404, 405, 501)
    assert good(session, OBJECTS[2])


def test_a_method_override_is_not_obeyed(session: Session) -> None:
    override = (
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
    )
    session.together(
        [Request("POST", "/config", b"evil", override), Request("GET", "/config", headers=override)]
    )
    assert good(session, "/config")


ESCAPES = [
    "/../../db1/g1/config",
    "/..%2f..%2fdb1/g1/config",
    "/%2e%2e/%2e%2e/db1/g1/config",
    "/%252e%252e/%252e%252e/db1/g1/config",
    "/..%252f..%252fdb1%252fg1%252fconfig",
    "/data/../../../db1/g1/config",
    "/data/..%2f..%2f..%2fdb1%2fg1%2fconfig",
    "/data/%2e%2e%2f%2e%2e%2f%2e%2e%2fdb1%2fg1%2fconfig",
    "//db1/g1/config",
    "/%2fdb1/g1/config",
    "/./../../db1/g1/config",
    "/....//....//db1/g1/config",
    "/..;/..;/db1/g1/config",
    "/..\\..\\db1\\g1\\config",
    "/..%5c..%5cdb1%5cg1%5cconfig",
    "/%c0%ae%c0%ae/%c0%ae%c0%ae/db1/g1/config",
    "/%uff0e%uff0e/%uff0e%uff0e/db1/g1/config",
    "/g1/../../db1/g1/config",
    "/config/../../../db1/g1/config",
    "/../g1/../../db1/g1/config",
    "/\u2025/\u2025/db1/g1/config",
    "/..%00/..%00/db1/g1/config",
    "/backups/db1/g1/config",
    "/lastcopy:backups/db1/g1/config",
    "/:s3:backups/db1/g1/config",
    "/..%ef%bc%8f..%ef%bc%8fdb1/g1/config",
]


@pytest.fixture
def victim(ready: Chain) -> bytes:
    """db1's repository, with a config that nobody else may see."""
    with Session(ready.forced("db1")) as theirs:
        theirs.ask("POST", "/?create=true")
        if theirs.ask("HEAD", "/config").status != 200:
            theirs.ask("POST", "/config", b"db1-secret")
        return theirs.ask("GET", "/config").body


@pytest.mark.parametrize("path", ESCAPES)
def test_another_sources_objects_are_out_of_reach(ready: Chain, victim: bytes, path: str) -> None:
    session = Session(ready.forced("web1"))
    try:
        for method, body in (("GET", b""), ("HEAD", b""), ("DELETE", b""), ("POST", b"evil")):
            try:
                answer = session.ask(method, path, body)
            except Gone:
                session.close()
                session = Session(ready.forced("web1"))
                continue
            assert victim not in answer.body
            # At most an object of its own with a strange name, which an earlier test may have written.
            assert (
                method not in ("GET", "HEAD")
                or answer.status != 200
                or answer.headers["content-length"] == "4"
            )
    finally:
        session.close()
    with Session(ready.forced("db1")) as theirs:
        assert theirs.ask("GET", "/config").body == victim


@pytest.mark.parametrize(
    "path",
    [
        "/../",
        "/..%2f",
        "/%2e%2e/",
        "/../../",
        "/../../db1/g1/data/",
        "/data/../../../",
        "/..%2f..%2fdb1%2fg1%2f",
    ],
)
@pytest.mark.usefixtures("victim")
def test_another_sources_objects_are_not_listed(ready: Chain, path: str) -> None:
    with Session(ready.forced("web1")) as session:
        try:
            answer = session.ask("GET", path, headers="application/vnd.x.restic.rest.v2")
        except Gone:
            return
        assert b"db1" not in answer.body
        assert b"g1" not in answer.body


def telltales(chain: Chain, source: str) -> list[bytes]:
    """What names the storage."""
    endpoint = chain.storage["endpoint"].removeprefix("https://")
    return [
        word.encode()
        for word in (
            endpoint,
            endpoint.split(":")[0],
            "backups",
            "lastcopy:",
            *IDENTITIES[source],
            "s3.",
            "amz",
            "minio",
            "rclone.conf",
        )
    ]


def assert_silent(chain: Chain, said: bytes) -> None:
    for word in telltales(chain, "web1"):
        assert word.lower() not in said.lower(), f"{word!r} in {said!r}"


WALK = [
    *(
        ("GET", path)
        for path in (
            "/",
            "/config",
            "/data/",
            "/keys/",
            "/nothing",
            "/data/nothing",
            "/data/zz",
            "/%ff",
            "/locks/",
        )
    ),
    ("POST", "/config"),
    ("DELETE", "/config"),
    ("POST", "/"),
    ("POST", "/data/"),
    ("PUT", "/config"),
    ("GET", "/data/" + "a" * 3000),
    ("HEAD", "/config"),
]


def walk(chain: Chain) -> tuple[bytes, list[int]]:
    """Everything that a source hears while it asks around: answers, headers, stderr."""
    said, statuses = b"", []
    with Session(chain.forced("web1"), patience=25) as session:
        for method, path in WALK:
            try:
                answer = session.ask(method, path, b"x" if method in ("POST", "PUT") else b"")
            except Gone as gone:
                said += gone.words.encode() + str(gone.code).encode()
                break
            statuses.append(answer.status)
            said += answer.body + repr(sorted(answer.headers.items())).encode()
        said += session.words().encode()
    return said, statuses


@pytest.mark.usefixtures("session")
def test_nothing_that_is_said_names_the_storage(ready: Chain) -> None:
    said, statuses = walk(ready)
    assert len(statuses) == len(WALK)
    assert_silent(ready, said)


@pytest.mark.parametrize("wrong", ["secret", "identity of another", "closed port", "no such host"])
def test_nothing_names_the_storage_when_it_fails(changing: Chain, wrong: str) -> None:
    identity, endpoint = IDENTITIES["web1"], changing.storage["endpoint"]
    if wrong == "secret":
        identity = (identity[0], "not-the-secret-at-all")
    elif wrong == "identity of another":
        identity = IDENTITIES["db1"]
    elif wrong == "closed port":
        endpoint = endpoint.replace(":9000", ":9009")
    else:
        endpoint = "https://storage.invalid:9000"
    changing.apply(changing.entry("web1", identity=identity, endpoint=endpoint))
    said, statuses = walk(changing)
    assert statuses == []
    assert b"relay: storage unavailable" in said
    assert said.endswith(b"69") or b"69" in said
    assert_silent(changing, said)
    assert_silent(changing, said.replace(b"storage unavailable", b""))


def test_nothing_names_the_storage_when_it_fails_in_the_middle(changing: Chain) -> None:
    """Cut off while a session is open: answers become errors, and none of them says what is behind."""
    said = b""
    try:
        said = cut_off_in_the_middle(changing)
    finally:
        changing.sh("systemctl restart lastcopy-firewall.service")
    assert_silent(changing, said)


def cut_off_in_the_middle(changing: Chain) -> bytes:
    """What a source hears whose storage goes away during its session."""
    said = b""
    with Session(changing.forced("web1"), patience=40) as session:
        assert session.ask("HEAD", "/config").status in (200, 404)
        changing.sh("nft flush set inet lastcopy storage4")
        changing.sh(
            "ss -K dst "
            + changing.storage["endpoint"].removeprefix("https://").split(":")[0]
            + " >/dev/null 2>&1 || true"
        )
        for method, path in [
            ("GET", "/config"),
            ("POST", f"/data/{session_mark()}ff"),
            ("DELETE", f"/locks/{NAME}"),
        ]:
            try:
                answer = session.ask(method, path, b"x" if method == "POST" else b"")
            except Gone as gone:
                said += gone.words.encode()
                break
            assert answer.status >= 400 or answer.status == 200
            said += answer.body + repr(answer.headers).encode()
        said += session.words().encode()
    return said


def test_the_journal_on_the_relay_says_what_the_source_is_not_told(changing: Chain) -> None:
    changing.apply(changing.entry("web1", identity=(IDENTITIES["web1"][0], "not-the-secret-at-all")))
    subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False)
    assert "SignatureDoesNotMatch" in changing.sh("journalctl --no-pager -t lastcopy-web1 -n 20")


# Sabotage: each proof above fails once the part that keeps its promise is taken away.


def sabotaged(chain: Chain, *changes: tuple[str, str]) -> None:
    """The source's entry with pieces of its arguments replaced, as a careless edit would."""
    step = chain.entry("web1", identity=IDENTITIES["web1"])
    serve = step.values["SERVE"]
    for old, new in changes:
        assert old in serve
        serve = serve.replace(old, new)
    chain.apply(step.but(SERVE=serve))


def test_sabotage_without_append_only_the_wrapper_refuses_to_serve(changing: Chain) -> None:
    sabotaged(changing, ("arg --append-only\n", ""))
    done = subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False)
    assert done.returncode == 64
    assert done.stdout == b""


def without_append_only(chain: Chain) -> None:
    """The wrapper as it would be if somebody dropped the flag."""
    step = chain.shared()
    flag = 'serve restic --stdio --append-only "$@"'
    assert flag in step.values["WRAPPER"]
    chain.apply(step.but(WRAPPER=step.values["WRAPPER"].replace(flag, 'serve restic --stdio "$@"')))


def test_sabotage_without_append_only_deleting_is_no_longer_refused_by_rclone(changing: Chain) -> None:
    """The proof of S4 can fail; what is left then is the storage identity, which may delete under locks/ only."""
    without_append_only(changing)
    with Session(changing.forced("web1")) as session:
        path = f"/data/{session_mark()}aa"
        assert session.ask("POST", path, b"x").status == 200
        assert session.ask("DELETE", path).status != 403  # rclone's own word for append-only
        assert session.ask("GET", path).status == 200  # the storage refused it


def test_sabotage_without_append_only_and_header_an_object_is_overwritten(changing: Chain) -> None:
    """The proof of S5 can fail: with neither wall, the second write wins."""
    without_append_only(changing)
    sabotaged(changing, ("arg --header-upload\narg If-None-Match: *\n", ""))
    with Session(changing.forced("web1")) as session:
        path = f"/data/{session_mark()}bb"
        assert session.ask("POST", path, b"first").status == 200
        assert session.ask("POST", path, b"second").status == 200
        assert session.ask("GET", path).body == b"second"


def test_the_storage_itself_refuses_an_overwrite_when_rclone_would_not(changing: Chain) -> None:
    """The conditional header is a wall of its own: rclone without --append-only still overwrites nothing."""
    without_append_only(changing)
    with Session(changing.forced("web1")) as session:
        path = f"/data/{session_mark()}cc"
        assert session.ask("POST", path, b"first").status == 200
        assert session.ask("POST", path, b"second").status >= 400
        assert session.ask("GET", path).body == b"first"


def test_sabotage_with_a_shared_identity_and_no_own_path_another_source_is_within_reach(
    changing: Chain,
) -> None:
    """The proof of S6 can fail: a room that begins one level higher reaches the other's, if the identity lets it."""
    step = changing.entry("web1", identity=IDENTITIES["db1"])
    changing.apply(step.but(SERVE=step.values["SERVE"].replace("backups/web1/g1", "backups/db1/g1")))
    with Session(changing.forced("db1")) as theirs:
        theirs.ask("POST", "/config", b"db1-secret")
    with Session(changing.forced("web1")) as session:
        assert session.ask("GET", "/config").body == b"db1-secret"


def test_sabotage_with_stderr_left_to_the_source_the_storage_is_named(changing: Chain) -> None:
    """The proof of S7 can fail: rclone's own words, once they reach the source, name the storage."""
    step = changing.shared()
    journal = 'clean systemd-cat -t "lastcopy-$source" -p info \\\n'
    assert journal in step.values["WRAPPER"]
    changing.apply(
        step.but(
            WRAPPER=step.values["WRAPPER"]
            .replace(journal, "clean \\\n")
            .replace('exec "$@" >&', 'exec 2>&4; exec "$@" >&')
        )
    )
    wrong = changing.storage["endpoint"].replace(":9000", ":9009")
    changing.apply(changing.entry("web1", identity=IDENTITIES["web1"], endpoint=wrong))
    with pytest.raises(AssertionError):
        assert_silent(changing, walk(changing)[0])
