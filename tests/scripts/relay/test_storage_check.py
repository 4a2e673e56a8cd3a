"""Before anything is written: the bucket must keep versions and lock them, and each mistake is reported as one error with its fix."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.scripts.relay.chain import Chain
from tests.scripts.relay.conftest import IDENTITIES

WEB1 = IDENTITIES["web1"]


def refused(chain: Chain, **changes: str) -> str:
    answer = chain.run(chain.storage_check("web1", WEB1, **changes))
    assert answer.code == 1
    assert "fix:" in answer.words
    assert WEB1[1] not in answer.words
    assert "nothing was changed by this step" in answer.words
    return answer.words


def test_a_locked_bucket_passes_and_its_lock_is_reported(ready: Chain) -> None:
    answer = ready.apply(ready.storage_check("web1", WEB1))
    assert answer.line["facts"] == {"lock": "COMPLIANCE 1 days"}
    assert answer.changed == []
    # A bucket that locks for longer than the stack requires is fine.
    ready.apply(ready.storage_check("web1", WEB1, LOCK_MODE="GOVERNANCE"))


REAL = {
    "wrong secret": ({"SECRET_ACCESS_KEY": "wrong-wrong-wrong"}, "refuses this secret access key"),
    "unknown key id": ({"ACCESS_KEY_ID": "nobodyknows"}, "does not know this access key id"),
    "secret with quotes": ({"SECRET_ACCESS_KEY": 'a"b\\c" url = "x'}, "refuses this secret access key"),
    "secret with a line break": (
        {"SECRET_ACCESS_KEY": 'a"\nurl = "http://evil'},
        "SECRET_ACCESS_KEY holds a line break",
    ),
    "another's prefix": ({"PREFIX": "db1/"}, "s3:ListBucket on prefix db1/"),
    "closed port": ({"ENDPOINT": "https://{host}:9009"}, "is not reached from the relay"),
    "plain http": ({"ENDPOINT": "http://{host}:9000"}, "error:"),
    "unknown name": ({"ENDPOINT": "https://storage.invalid"}, "has no address on the relay"),
    "no url": ({"ENDPOINT": "{host}:9000"}, "is no http or https URL"),
    "no CA": ({"CA": ""}, "is not trusted by the relay"),
    "too short": ({"MINIMUM_DAYS": "30"}, "locks for 1 days, the stack wants at least 30"),
}


@pytest.mark.parametrize("name", REAL)
def test_what_the_real_storage_refuses(ready: Chain, name: str) -> None:
    changes, words = REAL[name]
    host = ready.storage["endpoint"].removeprefix("https://").split(":")[0]
    assert words in refused(ready, **{key: text.replace("{host}", host) for key, text in changes.items()})


def test_another_ca_is_not_trusted(ready: Chain) -> None:
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/CN=other",
            "-days",
            "2",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is not trusted by the relay" in refused(ready, CA=made.stdout)


LOCKED = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{}</ObjectLockConfiguration>"
RULE = "<Rule><DefaultRetention><Mode>{}</Mode><{}>{}</{}></DefaultRetention></Rule>"
ENABLED = (200, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
GOOD_LOCK = (200, LOCKED.format(RULE.format("COMPLIANCE", "Days", 30, "Days")))
LISTED = (200, "<ListBucketResult></ListBucketResult>")


def error(status: int, code: str) -> tuple[int, str]:
    return (status, f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>words</Message></Error>")


# Possible answers of other storages, one by one: versioning, object-lock, list.
SAID = {
    "never versioned": (
        [(200, "<VersioningConfiguration/>"), GOOD_LOCK, LISTED],
        "does not keep versions (versioning is 'never enabled')",
    ),
    "suspended": (
        [
            (200, "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"),
            GOOD_LOCK,
            LISTED,
        ],
        "versioning is 'Suspended'",
    ),
    "no lock": ([ENABLED, error(404, "ObjectLockConfigurationNotFoundError"), LISTED], "has no Object Lock"),
    "no default retention": (
        [ENABLED, (200, LOCKED.format("")), LISTED],
        "has Object Lock but no default retention",
    ),
    "governance": (
        [ENABLED, (200, LOCKED.format(RULE.format("GOVERNANCE", "Days", 30, "Days"))), LISTED],
        "locks in mode GOVERNANCE, which an identity with the bypass permission undoes; the stack wants COMPLIANCE",
    ),
    "clock": ([error(403, "RequestTimeTooSkewed")] * 3, "the relay's clock is wrong"),
    "no bucket": ([error(404, "NoSuchBucket")] * 3, "there is no bucket 'backups'"),
    "region": ([error(400, "AuthorizationHeaderMalformed")] * 3, "the bucket is not in region"),
    "may not ask for versioning": ([error(403, "AccessDenied"), GOOD_LOCK, LISTED], "s3:GetBucketVersioning"),
    "may not ask for the lock": (
        [ENABLED, error(403, "AccessDenied"), LISTED],
        "s3:GetBucketObjectLockConfiguration",
    ),
    "may not list": ([ENABLED, GOOD_LOCK, error(403, "AccessDenied")], "s3:ListBucket on prefix web1/"),
    "not S3": ([(200, "<html>hello</html>")] * 3, "does not keep versions"),
    "broken": ([(503, "")] * 3, "answered 503"),
    "no object lock at all": (
        [ENABLED, error(501, "NotImplemented"), LISTED],
        "use a storage with S3 Object Lock",
    ),
}

SERVER = """
import http.server, json, sys
answers = json.loads(sys.argv[1])
unknown = int(sys.argv[2])  # so many requests meet a storage that has not heard of the key yet
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        which = 0 if 'versioning' in self.path else 1 if 'object-lock' in self.path else 2
        status, body = answers[which]
        global unknown
        if 'backups?' in self.path and unknown > 0:
            unknown -= 1
            status, body = 403, '<Error><Code>InvalidAccessKeyId</Code></Error>'
        body = body.encode()
        self.send_response(status)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
http.server.HTTPServer(('127.0.0.1', 9090), Handler).serve_forever()
"""


@contextlib.contextmanager
def storage_that_says(chain: Chain, answers: list[tuple[int, str]], unknown: int = 0) -> Iterator[str]:
    """A fake storage on the relay's loopback (its network, this machine's Python)."""
    command = chain.box.command("relay", ["true"])
    target = next(word for word in command if word.startswith("--target"))
    server = subprocess.Popen(
        ["nsenter", target, "--net", "--", sys.executable, "-c", SERVER, json.dumps(answers), str(unknown)]
    )
    try:
        chain.sh(
            "for i in $(seq 80); do curl -s -o /dev/null http://127.0.0.1:9090/ && exit 0; sleep 0.1; done; exit 1"
        )
        with chain.reached_by_sources(9090):
            yield "http://127.0.0.1:9090"
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.parametrize("name", SAID)
def test_possible_answers_of_other_storages(ready: Chain, name: str) -> None:
    answers, words = SAID[name]
    with storage_that_says(ready, answers) as endpoint:
        assert words in refused(ready, ENDPOINT=endpoint, CA="")


def test_a_new_key_gets_time_until_the_storage_knows_it(ready: Chain) -> None:
    answers = [ENABLED, GOOD_LOCK, LISTED]
    with storage_that_says(ready, answers, unknown=2) as endpoint:
        step = ready.storage_check("web1", WEB1, ENDPOINT=endpoint, CA="", MINIMUM_DAYS="30", PATIENCE="60")
        assert ready.run(step, "check").code == 0
    # Another's key is reported at once, and so, in the end, is one that stays unknown.
    with storage_that_says(ready, answers, unknown=2) as endpoint:
        assert "does not know this access key id" in refused(ready, ENDPOINT=endpoint, CA="")
    with storage_that_says(ready, answers, unknown=99) as endpoint:
        assert "does not know this access key id" in refused(ready, ENDPOINT=endpoint, CA="", PATIENCE="3")


def test_several_mistakes_are_reported_at_once(ready: Chain) -> None:
    answers = [(200, "<VersioningConfiguration/>"), error(404, "X"), error(403, "AccessDenied")]
    with storage_that_says(ready, answers) as endpoint:
        words = refused(ready, ENDPOINT=endpoint, CA="")
    assert words.count("error:") == 3


def test_years_count_as_days(ready: Chain) -> None:
    answers = [ENABLED, (200, LOCKED.format(RULE.format("COMPLIANCE", "Years", 1, "Years"))), LISTED]
    with storage_that_says(ready, answers) as endpoint:
        step = ready.storage_check("web1", WEB1, ENDPOINT=endpoint, CA="", MINIMUM_DAYS="365")
        answer = ready.run(step, "check")
    assert answer.line["facts"] == {"lock": "COMPLIANCE 365 days"}


def test_the_secret_is_never_in_a_command_line(ready: Chain) -> None:
    """A2: every process that runs meanwhile is watched; the access key is in no argument and in no environment."""
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
    watch = f"end=$(($(date +%s)+4)); while [ $(date +%s) -lt $end ]; do {look}; done | tr '\\0' '\\n' | grep -c 'web1-[s]ecret' || true"
    seen: list[str] = []
    watcher = threading.Thread(target=lambda: seen.append(ready.sh(watch)))
    watcher.start()
    for _ in range(3):
        ready.apply(ready.storage_check("web1", WEB1))
    watcher.join()
    assert seen == ["0\n"]
