"""Every file that a source gets, word for word, so that a change to one shows in review.

After a wanted change: LASTCOPY_WRITE_GOLDEN=1 python -m pytest tests/unit/source/test_golden.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.settings import Source
from components.source import step_values
from components.source.enrolment.enrolment_script import enrolment_script
from tests.unit.recording import SAMPLE_KEY

GOLDEN = Path(__file__).parent / "golden"
SOURCE = Source.model_validate(
    {
        "name": "web1",
        "publicKey": SAMPLE_KEY,
        "paths": ["/srv/with space", "/-dash", "/per%cent", "/quote'\""],
        "exclude": ["*.tmp", "/srv/**/cache", "$HOME"],
        "oneFileSystem": True,
        "excludeCaches": True,
        "excludeIfPresent": [".nobackup", "tag file:its first words"],
        "excludeLargerThan": "4G",
        "expect": {"mayBeEmpty": ["/srv/with space/spool"]},
        "rate": {
            "uploadKiBps": 51200,
            "hours": [
                {"from": "08:00", "to": "18:00", "uploadKiBps": 2048},
                {"from": "22:30", "to": "06:00", "downloadKiBps": 100},
            ],
        },
        "schedule": "Mon..Fri 22:30 Europe/Berlin",
        "preHook": "/usr/local/sbin/before",
        "postHook": "/usr/local/sbin/after",
    }
)
CLIENT = step_values.client(
    SOURCE, floor="0.19.1", address="relay.example.com", port=2222, host_key=SAMPLE_KEY
)
TEXTS = {
    **{name.lower(): CLIENT[name] for name in ("SSH_CONFIG", "KNOWN_HOSTS", "RESTIC_CONF")},
    **{
        name.lower(): text
        for name, text in step_values.schedule(SOURCE).items()
        if name in ("BACKUP_CONF", "PATHS", "EXCLUDES", "SERVICE", "TIMER", "BACKOFF")
    },
}


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_as_reviewed(name: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("LASTCOPY_WRITE_GOLDEN"):
        golden.write_text(TEXTS[name])
    assert TEXTS[name] == golden.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(TEXTS)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_enrolment_script_parses(shell: str) -> None:
    text = enrolment_script(SOURCE, public_key=SAMPLE_KEY, client=CLIENT, password="a-password-of-words")
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_enrolment_script_contains_what_pulumi_up_would_send() -> None:
    from components.host.program_texts import script_text

    full = enrolment_script(SOURCE, public_key=SAMPLE_KEY, client=CLIENT, password="a-password-of-words")
    repository = {**step_values.repository(SOURCE), "PASSWORD": "a-password-of-words"}
    for script, values in (
        ("source_key", step_values.key(SAMPLE_KEY)),
        ("source_client", CLIENT),
        ("repository", repository),
        ("schedule", step_values.schedule(SOURCE)),
    ):
        assert script_text(script, values) in full
    assert "a-password-of-words" not in full, "somebody who looks at the screen sees no password"
