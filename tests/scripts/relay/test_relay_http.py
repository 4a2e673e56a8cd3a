"""HTTP over the forced command: what a source may do, and each safeguard by itself. For what it must not do: tests/drill/test_s_rows.py (S4 to S7)."""

from __future__ import annotations

import re
import secrets
import subprocess
from datetime import UTC, datetime, timedelta

from attack_drill.http2 import Session
from tests.sabotage import weaken
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import IDENTITIES

NAME = "ab" * 32


def test_a_lock_can_be_removed(ready: Chain) -> None:
    """The only thing that restic must delete; without it every backup would leave a stale lock."""
    with Session(ready.forced("web1")) as session:
        assert session.ask("POST", f"/locks/{NAME}", b"lock").status == 200
        assert session.ask("DELETE", f"/locks/{NAME}").status == 200
        assert session.ask("HEAD", f"/locks/{NAME}").status == 404


def test_a_session_begins_with_the_relays_clock_and_nothing_else(ready: Chain) -> None:
    """What the source compares its own clock with (components/source/schedule/backup-failures); by S7 it says nothing else."""
    done = subprocess.run(ready.forced("web1", "-T"), input=b"", capture_output=True, check=False)
    told = re.fullmatch(r"relay: its clock says (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n", done.stderr.decode())
    assert told, done.stderr
    assert abs(datetime.fromisoformat(told[1]) - datetime.now(UTC)) < timedelta(minutes=1)


def session_mark() -> str:
    return secrets.token_hex(31)


def test_the_relays_journal_contains_what_is_hidden_from_the_source(changing: Chain) -> None:
    changing.apply(changing.entry("web1", identity=(IDENTITIES["web1"][0], "not-the-secret-at-all")))
    subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False)
    assert "SignatureDoesNotMatch" in changing.sh(
        "journalctl --sync; journalctl --no-pager -t lastcopy-web1 -n 20"
    )


# Each safeguard by itself: with one removed, the next one still refuses.


def sabotaged(chain: Chain, *changes: tuple[str, str]) -> None:
    """The source's entry with parts of its arguments replaced, as by a careless edit."""
    step = chain.entry("web1", identity=IDENTITIES["web1"])
    serve = step.values["SERVE"]
    for old, new in changes:
        serve = weaken(serve, old, new)
    chain.apply(step.but(SERVE=serve))


def test_the_wrapper_refuses_to_serve_without_append_only(changing: Chain) -> None:
    sabotaged(changing, ("arg --append-only\n", ""))
    done = subprocess.run(changing.forced("web1"), input=b"", capture_output=True, check=False)
    assert done.returncode == 64
    assert done.stdout == b""


def without_append_only(chain: Chain) -> None:
    """The wrapper as if somebody had dropped the flag."""
    step = chain.shared()
    flag = 'serve restic --stdio --append-only "$@"'
    assert flag in step.values["WRAPPER"]
    chain.apply(step.but(WRAPPER=weaken(step.values["WRAPPER"], flag, 'serve restic --stdio "$@"')))


def test_the_storage_itself_refuses_a_delete_when_rclone_would_not(changing: Chain) -> None:
    """The source's storage identity may delete only below locks/."""
    without_append_only(changing)
    with Session(changing.forced("web1")) as session:
        path = f"/data/{session_mark()}aa"
        assert session.ask("POST", path, b"x").status == 200
        assert session.ask("DELETE", path).status != 403  # rclone's own message for append-only
        assert session.ask("GET", path).status == 200  # the storage refused it


def test_the_storage_itself_refuses_an_overwrite_when_rclone_would_not(changing: Chain) -> None:
    """The conditional header is a separate safeguard: rclone without --append-only still overwrites nothing."""
    without_append_only(changing)
    with Session(changing.forced("web1")) as session:
        path = f"/data/{session_mark()}cc"
        assert session.ask("POST", path, b"first").status == 200
        assert session.ask("POST", path, b"second").status >= 400
        assert session.ask("GET", path).body == b"first"
