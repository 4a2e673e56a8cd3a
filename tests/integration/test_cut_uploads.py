"""A7: an upload that is cut off anywhere, or whose answer is lost, is at most an outage of that run: the next run completes, and nothing is lost.

With restic, rclone with the product's own arguments, and a locked bucket; the connections in between are cut. Each case is limited in time.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys

from tests.integration.corrupter import Point
from tests.integration.test_corruption import Chain, Make, chain, storage  # noqa: F401 - fixtures
from toolchain.checkout import ROOT

FAILURES = ROOT / "components" / "source" / "schedule" / "backup-failures"


def outage(code: int) -> re.Pattern[str]:
    """The exit code by which run-backup reports this outage."""
    text = FAILURES.read_text()
    (expression,) = re.findall(
        rf"said '([^'\n]*)'[^\n]*; then\n    leave {code} \"the relay (?:stores nothing twice|was not reached)",
        text,
    )
    return re.compile(expression, re.MULTILINE)


def whole(product: Chain) -> None:
    """Check that the next run completes and stored what it should."""
    product.succeeds("backup", "tree", "--quiet")
    product.succeeds("unlock")
    product.succeeds("check", "--read-data")
    assert product.restores_the_same()


def test_an_upload_that_the_storage_did_not_receive_is_sent_again_in_the_same_run(chain: Make) -> None:  # noqa: F811
    """Between relay and storage, at each point: restic retries by itself."""
    product = chain()
    for what, point in (
        ("/locks/", Point.WITHIN_THE_BODY), ("/data/", Point.BEFORE_THE_BODY), ("/index/", Point.WITHIN_THE_BODY),
        ("/snapshots/", Point.AFTER_THE_BODY),
    ):  # fmt: skip
        product.wire.cuts_at[what] = point
    said = product.restic("backup", "tree")
    assert said.returncode == 0, said.stderr
    assert [path.split("/")[-3 if "/data/" in path else -2] for path in product.wire.were_cut] == [
        "locks",
        "data",
        "index",
        "snapshots",
    ]
    assert said.stderr.count("operation successful after 1 retries") == 4
    product.succeeds("check", "--read-data")
    assert product.restores_the_same()


def test_a_lost_answer_ends_the_run_and_the_next_one_completes(chain: Make) -> None:  # noqa: F811
    """The storage has stored the object, and append-only stores nothing twice. restic gives up by itself within a minute; here it is stopped earlier."""
    product = chain()
    refused = outage(69)
    for number, what in enumerate(("/data/", "/index/", "/snapshots/"), 1):
        product.wire.cuts_at[what] = Point.BEFORE_THE_ANSWER
        with subprocess.Popen(
            [*product.words(), "backup", "tree", "--json", "--quiet"], env=product.environment(), cwd=product.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as run:  # fmt: skip
            assert run.stderr
            assert any(refused.search(line) for line in run.stderr), "restic ended without that message"
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=30)
        assert run.returncode != 0, "nothing was acknowledged"
        assert len(product.wire.were_cut) == number
    whole(product)


CUT = """#!{python}
import os, subprocess, sys, threading
child = subprocess.Popen([{real!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def pump(origin, target, left):
    while data := os.read(origin, 65536):
        os.write(target, data[:left])
        left -= len(data)
        if left <= 0:
            child.kill()
            os._exit(255)
    os.close(target)
threading.Thread(target=pump, args=(0, child.stdin.fileno(), {up}), daemon=True).start()
pump(child.stdout.fileno(), 1, {down})
sys.exit(child.wait())
"""
MUCH = 1 << 40


def test_a_cut_connection_between_source_and_relay_is_an_outage_at_every_point(chain: Make) -> None:  # noqa: F811
    """As with ssh: both streams end, with status 255. Counted in bytes: before and after the greeting, within a pack, before an answer."""
    product = chain()
    serve, real = product.folder / "serve", product.folder / "real"
    serve.rename(real)
    told = outage(74)
    for up, down in ((1, MUCH), (24, MUCH), (4 << 20, MUCH), (MUCH, 1), (MUCH, 600), (MUCH, 2000)):
        serve.write_text(CUT.format(python=sys.executable, real=str(real), up=up, down=down))
        serve.chmod(0o755)
        done = product.restic("backup", "tree", "--json", "--quiet")
        assert done.returncode != 0, (up, down)
        assert told.search(done.stderr), (up, down, done.stderr)
    real.rename(serve)
    whole(product)
