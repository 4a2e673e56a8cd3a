"""What the S rows send and how they interpret an answer, without a stack."""

from __future__ import annotations

import pytest

from attack_drill.attempts import SETTINGS, AttemptResult, shows_only_rclone
from attack_drill.rows import s1, s4, s5, s6, s7

WORDS = {"the bucket": "backups", "the access key": "AKXY1234", "the storage's address": "198.51.100.9"}


@pytest.mark.parametrize(
    ("out", "err", "held"),
    [
        (b"", b"", True),
        (b"\0\0\x06" + SETTINGS + b"rest", b"", True),
        (b"uid=0(root)", b"", False),
        (b"", b"uid=0(root)", False),
        (b"SSH-2.0-OpenSSH_10.0", b"", False),
        (b"\0\0\x06" + SETTINGS + b"root:x:0:0", b"", False),
        (b"anything that is not HTTP/2", b"", False),
    ],
)
def test_only_http2_counts_as_the_forced_command(out: bytes, err: bytes, held: bool) -> None:
    assert shows_only_rclone(AttemptResult(code=0, out=out, err=err)) is held


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("403 Forbidden", []),
        ("open backups/web1/g1/config", ["the bucket"]),
        ("/var/backups and mybackups and backups2", []),
        ("key akxy1234 unknown", ["the access key"]),
        ("get https://198.51.100.9:9000/", ["the storage's address"]),
        ("<Code>AccessDenied</Code>", ["AccessDenied"]),
        ("X-Amz-Request-Id: 1", ["x-amz", "amz-"]),
        ('Failed to create file system for "lastcopy:x"', ["lastcopy:"]),
    ],
)
def test_text_that_names_the_storage_is_recognised(said: str, found: list[str]) -> None:
    assert s7.named(WORDS, said) == found


def test_there_are_many_variants_and_no_duplicates() -> None:
    paths = s6.escapes("../..", "db1/g1/config", "backups/db1/g1/config")
    for many, least in (
        (s1.COMMANDS, 30),
        (paths, 50),
        (s5.spellings("/data/" + "ab" * 32), 12),
        (s4.spellings("data", "ab" * 32), 15),
    ):
        assert len(many) >= least
        assert len(set(many)) == len(many)
