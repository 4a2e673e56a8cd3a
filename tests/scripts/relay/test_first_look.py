"""S6: whatever the storage answers to the lookups before a session, the source gets its own folder or nothing, and the journal gives the reason.

rclone first asks whether its path is a file, and takes many an answer for yes: it then serves the folder above, another repository of the same
source. The wrapper's own lookups explain what is wrong: a serving rclone passes an answer on as 500 without a message.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from attack_drill.http2 import Session, SessionEnded
from tests.enforced.servers import s3_client
from tests.sabotage import weaken
from tests.scripts.relay.beside import beside
from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import IDENTITIES, furnished

GENERATION = 99  # that no other test writes to
FOLDER = f"web1/g{GENERATION}"
MISSING = f"{FOLDER}/locks/look"
ANSWERS = (200, 403, 404, 405, 500)
ABOVE = b"the config of the folder above"
SERVE = "/etc/lastcopy/relay/web1/serve.conf"
Say = Callable[[Mapping[str, int]], object]


def put_above(chain: Chain) -> None:
    """Objects at the place where the parent of web1's folder would have its config."""
    with chain.box.storage_admin() as (origin, ca, *root):
        s3 = s3_client(origin, Path(ca), *root)
        s3.put_object(Bucket=chain.storage["bucket"], Key="web1/config", Body=ABOVE)


def config(chain: Chain) -> tuple[int, bytes]:
    with Session(chain.forced("web1")) as session:
        answer = session.ask("GET", "/config")
        return answer.status, answer.body


@pytest.fixture(scope="module")
def say(chain: Chain) -> Iterator[Say]:
    """The furnished relay, with a gate in front of its storage for all tests of this file. `say`: the answer to HEAD of a key from now on."""
    furnished(chain)
    chain.furnished = False
    given = {
        "behind": chain.storage["endpoint"],
        "certs": str(chain.box.storage_folder / "certs"),
        "secrets": dict(IDENTITIES.values()),
    }
    with beside(chain, "tests.gates", given) as gate:
        chain.inside(
            chain.entry("web1", identity=IDENTITIES["web1"], endpoint=gate.endpoint, generation=GENERATION)
        )
        yield gate.tell


def test_a_storage_that_does_not_answer_not_found_is_reported_in_the_journal(chain: Chain, say: Say) -> None:
    """Ceph answers 403 for a missing name; restic would retry for a quarter of an hour and the journal would stay empty."""
    for status in (403, 500):
        say({MISSING: status})
        began = time.time()
        done = subprocess.run(chain.forced("web1"), input=b"", capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (69, b"")
        assert done.stderr.endswith(b"relay: storage unavailable\n")
        words = chain.sh(
            f"journalctl --sync; journalctl --no-pager -o cat -t lastcopy-web1 --since @{began - 1:.0f}"
        )
        assert f"StatusCode: {status}" in words
        assert "a look at a name that is not there ended with 1; the storage must answer 404" in words


def test_s6_a_session_never_serves_the_folder_above(chain: Chain, say: Say) -> None:
    """web1's folder is empty: whatever the answer to the question whether it is a file, nothing of the folder above is served."""
    put_above(chain)
    for status in ({}, *({FOLDER: status} for status in ANSWERS)):
        say(status)
        assert config(chain) == (404, b"Not Found\n"), status
    # The sabotage: rclone asks as before. The wrapper's lookup of a missing name, which must not be a file, is a second safeguard.
    chain.sh(f"sed -i 's#^arg lastcopy:.*/$#arg lastcopy:backups/{FOLDER}#' {SERVE}")
    say({FOLDER: 403})
    with pytest.raises(SessionEnded, match="storage unavailable"):
        config(chain)
    shared = chain.shared()
    blind = weaken(shared.values["WRAPPER"], 'fine "$missing" ||', "true ||")
    chain.inside(shared.but(WRAPPER=blind))
    for status in (200, 403):
        say({FOLDER: status})
        assert config(chain) == (200, ABOVE), status
