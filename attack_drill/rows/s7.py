"""S7: whether anything that a source can read names the storage: when all is well, with a broken storage identity, in an outage."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.http2 import Session, SessionEnded
from attack_drill.options import Level
from attack_drill.rows.s6 import escapes
from attack_drill.scratch_folder import scratch_folder
from attack_drill.scratch_repository import ENTRIES, ScratchRepository
from attack_drill.storage_outage import cut_storage

# Words that only S3, rclone's configuration or a server's own messages contain.
ALWAYS = (
    "lastcopy:", "rclone.conf", "/etc/lastcopy/relay", "x-amz", "amz-", "AccessDenied", "NoSuchKey", "NoSuchBucket", "RequestId", "SignatureDoesNotMatch",
    "InvalidAccessKeyId", "minio", "s3.", "S3:", "PutObject", "HeadObject", "ListObjects", "access_key", "env_auth", "shared config", "dial tcp", "lookup ",
)  # fmt: skip
PATHS = (
    "/", "/config", "/data/", "/keys/", "/index/", "/snapshots/", "/locks/", "/nothing", "/data/nothing", "/data/zz", "/%ff", f"/data/{'a' * 3000}",
    "/data/%00",
    "/?create=true", "//", "/.", "/*", "/metrics", "/debug/pprof/", "/rc/noop", "/core/version", "/config/x", "/data/x/y/z", "/data/ab/",
)  # fmt: skip
# None of these writes: bodies are empty, and the names cannot be an object's.
METHODS = ("GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X")
# Where the storage's name could have been left: files, the journal, environments and command lines.
DISK = r"""
grep -rIlF -f "$1" /etc /var/lib/lastcopy /var/cache/lastcopy /var/log /root /home /usr/local /run/lastcopy* /tmp /var/tmp 2>/dev/null | grep -v "^$1"
journalctl --no-pager -o cat 2>/dev/null | grep -cF -f "$1" | sed 's/^/journal: /; /^journal: 0$/d'
for p in /proc/[0-9]*; do
  if tr '\0' '\n' <"$p/environ" 2>/dev/null | grep -qF -f "$1" ||
    tr '\0' '\n' <"$p/cmdline" 2>/dev/null | grep -v '^grep' | grep -qF -f "$1"; then echo "$p"; fi
done
"""


def telling(drill: Drill) -> dict[str, str]:
    """Words that would name the storage, by what they are. The words themselves are never shown."""
    where, key = drill.where, drill.stolen_key()
    host = urlsplit(where.endpoint).hostname or ""
    words = {
        "the storage's address": host,
        "the storage's endpoint": where.endpoint,
        "the access key": key.access_key_id,
        "the secret key": key.secret_access_key.get_secret_value(),
        "the bucket": where.bucket,
        "the bucket and path": f"{where.bucket}/{drill.path()}",
    }
    return {what: word for what, word in words.items() if word}


def named(words: dict[str, str], said: str) -> list[str]:
    """Which of the words a text contains. A bucket's name may be an ordinary word, so it counts only as a word of its own."""
    low = said.lower()
    found = [what for what, word in words.items() if what != "the bucket" and word.lower() in low]
    if re.search(rf"(?<![\w./-]){re.escape(words['the bucket'])}(?![\w-])", said):
        found.append("the bucket")
    return found + [word for word in ALWAYS if word.lower() in low]


def _walk(session: Session, *, writing: bool) -> tuple[str, int]:
    """Make many requests. Returns statuses, headers, bodies and stderr as one text, and the number of answers."""
    said, answers = "", 0
    paths = [*PATHS, *escapes("../..", "x/g1/config", "x/y")[:12]]
    tries = [(method, path, b"") for path in paths for method in METHODS[: 9 if path in PATHS[:8] else 3]]
    if writing:
        tries += [
            ("POST", path, b"x")
            for path in (
                "/config",
                "/",
                "/data/",
                "/data/x/y",
                f"/data/{secrets.token_hex(32)}",
                "/locks/x",
                "/keys/\x7f",
            )
        ]
    try:
        for method, path, body in tries:
            answer = session.ask(method, path, body)
            answers += 1
            said += f"{answer.status} {sorted(answer.headers.items())} {answer.body[:4000].decode(errors='replace')}\n"
    except SessionEnded as gone:
        return said + gone.words, answers
    return said + session.words(), answers


def play(drill: Drill) -> Iterator[RowFinding]:
    words = telling(drill)
    with drill.session() as session:
        said, answers = _walk(session, writing=False)
    yield control("the relay answers", answers > 50, f"{answers} answers, {len(said)} characters")
    yield _judged("answers, headers and error texts when all is well", words, said)
    yield from _disk(drill, words)
    if not drill.may(Level.SCRATCH):
        yield not_played("answers to writes, a broken identity, an outage", Level.SCRATCH.words)
        return
    scratch = drill.scratch_repository(fresh=True)
    with scratch.session() as session:
        said, answers = _walk(session, writing=True)
    yield _judged("answers to writes and odd names", words, said)
    yield from _restic(scratch, words)
    yield from _broken(drill, scratch, words)
    if not drill.may(Level.TRIAL):
        yield not_played("an outage of the storage in the middle of a session", Level.TRIAL.words)
        return
    yield from _outage(drill, scratch, words)


def _judged(tried: str, words: dict[str, str], said: str) -> RowFinding:
    found = named(words, said)
    return judged(
        tried,
        not found,
        f"named: {found[:5]}"
        if found
        else f"{len(said)} characters contain none of {len(words) + len(ALWAYS)} words",
    )


def _disk(drill: Drill, words: dict[str, str]) -> Iterator[RowFinding]:
    """Search the source itself. The bucket's name is only searched for with its path, because alone it may be an ordinary word."""
    patterns = [word for what, word in words.items() if what != "the bucket"]
    with scratch_folder(drill.victim) as folder:
        planted = f"drill{secrets.token_hex(8)}"
        # On stdin, because the host's journal may record commands.
        drill.victim.run("sh", "-c", f"cat >{folder}/planted", stdin=f"{planted}\n")
        seen = _looked(drill, folder, [planted, *patterns])
    yield control(
        "the search of the source's disk finds a planted word",
        f"{folder}/planted" in seen,
        f"{len(seen)} places",
    )
    rest = [place for place in seen if place != f"{folder}/planted"]
    yield judged(
        "files, journal, environments and command lines of the source",
        not rest,
        rest[:4] or "none names the storage",
    )


def _looked(drill: Drill, folder: str, patterns: Sequence[str]) -> list[str]:
    """Search the source. The patterns are secrets: they are sent on stdin and kept in memory, readable by root only."""
    drill.victim.run("sh", "-c", f"umask 077; cat >{folder}/patterns", stdin="\n".join(patterns) + "\n")
    return drill.victim.run("sh", "-c", DISK, "sh", f"{folder}/patterns", check=False).out.splitlines()


def _restic(scratch: ScratchRepository, words: dict[str, str]) -> Iterator[RowFinding]:
    said = (
        scratch.restic("-vv", "cat", "config").said
        + scratch.restic("-vv", "forget", scratch.snapshots[0], seconds=4).said
    )
    yield _judged("restic's own messages, -vv", words, said)


def _broken(drill: Drill, scratch: ScratchRepository, words: dict[str, str]) -> Iterator[RowFinding]:
    """With a broken entry: rclone's messages about its configuration would tell the most."""
    folder = f"{ENTRIES}/{scratch.name}"
    ways = {
        "a wrong secret key": ("credentials", "s/^(aws_secret_access_key)=.*/\\1=not-the-secret-at-all/"),
        "an unknown access key": ("credentials", "s/^(aws_access_key_id)=.*/\\1=nobody-known/"),
        "no key": ("credentials", "/^aws_/d"),
        "a closed port": ("rclone.conf", "s#^(endpoint = https?://[^:/]+).*#\\1:9#"),
        "a host name that does not exist": (
            "rclone.conf",
            "s#^endpoint = .*#endpoint = https://storage.invalid#",
        ),
        "no such section": ("rclone.conf", "s/^\\[lastcopy\\]/[other]/"),
    }
    put_back = f"cp -a {folder}/kept/. {folder}"
    drill.relay.shell(f"cd {folder} && mkdir kept && cp -a credentials rclone.conf kept")
    try:
        for what, (file, line) in ways.items():
            drill.relay.shell(
                f"{put_back} && sed -i -E '{line}' {folder}/{file} && chgrp {scratch.account} {folder}/{file}"
            )
            with scratch.session() as session:
                said, answers = _walk(session, writing=True)
            yield _judged(f"an entry with {what}", words, f"{said} ")
            yield judged(
                f"an entry with {what} serves nothing",
                answers == 0,
                f"{answers} answers; said: {said.strip()[:80]}",
            )
    finally:
        drill.relay.shell(f"{put_back} && rm -r {folder}/kept", check=False)


def _outage(drill: Drill, scratch: ScratchRepository, words: dict[str, str]) -> Iterator[RowFinding]:
    said = ""
    with scratch.session(patience=25) as session:
        control_status = session.ask("HEAD", "/config").status
        with cut_storage(drill):
            tries = [
                ("GET", "/keys/"),
                ("GET", f"/data/{secrets.token_hex(32)}"),
                ("DELETE", "/locks/x"),
                ("HEAD", "/index/x"),
            ]
            statuses = []
            try:
                for method, path in [*tries, ("POST", f"/data/{secrets.token_hex(32)}")]:
                    answer = session.ask(method, path, b"x" if method == "POST" else b"")
                    statuses.append(answer.status)
                    said += f"{answer.status} {answer.headers} {answer.body.decode(errors='replace')}\n"
            except SessionEnded as gone:
                said += gone.words
            said += session.words()
            with scratch.session(patience=25) as late:
                more, answers = _walk(late, writing=True)
            told = scratch.restic("cat", "config", seconds=6).said
    yield control(
        "the storage could not be reached",
        control_status == 200 and any(status >= 500 for status in statuses) and not answers,
        f"answers {statuses}",
    )
    yield _judged("an outage that begins in the middle of a session", words, said)
    yield _judged("a session that begins during the outage", words, more)
    yield _judged("restic's own messages during the outage", words, told)
