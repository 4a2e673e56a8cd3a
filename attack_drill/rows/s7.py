"""S7: what is behind the relay, in anything that a source can hear or read: in health, with a broken identity, in an outage."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from attack_drill.attempts import work_folder
from attack_drill.ground import Ground
from attack_drill.http2 import Gone, Session
from attack_drill.model import Finding, Level, control, judged, not_played
from attack_drill.outage import storage_cut
from attack_drill.rows.s6 import escapes
from attack_drill.throwaway import ROOM, Throwaway

# What only S3, rclone's configuration or a server's own words say.
ALWAYS = (
    "lastcopy:", "rclone.conf", "/etc/lastcopy/relay", "x-amz", "amz-", "AccessDenied", "NoSuchKey", "NoSuchBucket", "RequestId", "SignatureDoesNotMatch",
    "InvalidAccessKeyId", "minio", "s3.", "S3:", "PutObject", "HeadObject", "ListObjects", "access_key", "env_auth", "shared config", "dial tcp", "lookup ",
)  # fmt: skip
PATHS = (
    "/", "/config", "/data/", "/keys/", "/index/", "/snapshots/", "/locks/", "/nothing", "/data/nothing", "/data/zz", "/%ff", f"/data/{'a' * 3000}",
    "/data/%00",
    "/?create=true", "//", "/.", "/*", "/metrics", "/debug/pprof/", "/rc/noop", "/core/version", "/config/x", "/data/x/y/z", "/data/ab/",
)  # fmt: skip
# Nothing of these writes: bodies are empty, and names that cannot be an object's.
METHODS = ("GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X")
# Where a storage's name could have been left behind, and what the source's processes hold in memory and environment.
DISK = r"""
grep -rIlF -f "$1" /etc /var/lib/lastcopy /var/cache/lastcopy /var/log /root /home /usr/local /run/lastcopy* /tmp /var/tmp 2>/dev/null | grep -v "^$1"
journalctl --no-pager -o cat 2>/dev/null | grep -cF -f "$1" | sed 's/^/journal: /; /^journal: 0$/d'
for p in /proc/[0-9]*; do
  if tr '\0' '\n' <"$p/environ" 2>/dev/null | grep -qF -f "$1" ||
    tr '\0' '\n' <"$p/cmdline" 2>/dev/null | grep -v '^grep' | grep -qF -f "$1"; then echo "$p"; fi
done
"""


def telling(ground: Ground) -> dict[str, str]:
    """Words that would give the storage away, by what they are; never shown."""
    where, thief = ground.where, ground.thief()
    host = urlsplit(where.endpoint).hostname or ""
    words = {
        "the storage's address": host,
        "the storage's endpoint": where.endpoint,
        "the access key": thief.access_key_id,
        "the secret key": thief.secret_access_key.get_secret_value(),
        "the bucket": where.bucket,
        "the bucket and path": f"{where.bucket}/{ground.path()}",
    }
    return {what: word for what, word in words.items() if word}


def named(words: dict[str, str], said: str) -> list[str]:
    """Which of them were said; a bucket may be called by a word of every day, so it counts as a word of its own."""
    low = said.lower()
    found = [what for what, word in words.items() if what != "the bucket" and word.lower() in low]
    if re.search(rf"(?<![\w./-]){re.escape(words['the bucket'])}(?![\w-])", said):
        found.append("the bucket")
    return found + [word for word in ALWAYS if word.lower() in low]


def _walk(session: Session, *, writing: bool) -> tuple[str, int]:
    """Everything that is said: statuses, headers, bodies, and at last stderr; how many answers there were."""
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
    except Gone as gone:
        return said + gone.words, answers
    return said + session.words(), answers


def play(ground: Ground) -> Iterator[Finding]:
    words = telling(ground)
    with ground.session() as session:
        said, answers = _walk(session, writing=False)
    yield control("the relay answers", answers > 50, f"{answers} answers, {len(said)} characters")
    yield _judged("answers, headers and error texts in health", words, said)
    yield from _disk(ground, words)
    if not ground.may(Level.THROWAWAY):
        yield not_played("answers to writes, a broken identity, an outage", Level.THROWAWAY.words)
        return
    made = ground.throwaway(fresh=True)
    with made.session() as session:
        said, answers = _walk(session, writing=True)
    yield _judged("answers to writes and strange names", words, said)
    yield from _restic(made, words)
    yield from _broken(ground, made, words)
    if not ground.may(Level.TRIAL):
        yield not_played("an outage of the storage in the middle of a session", Level.TRIAL.words)
        return
    yield from _outage(ground, made, words)


def _judged(tried: str, words: dict[str, str], said: str) -> Finding:
    found = named(words, said)
    return judged(
        tried,
        not found,
        f"named: {found[:5]}"
        if found
        else f"{len(said)} characters, none of {len(words) + len(ALWAYS)} words in them",
    )


def _disk(ground: Ground, words: dict[str, str]) -> Iterator[Finding]:
    """On the source itself; the bucket's name is looked for with its path only, for alone it may be any word."""
    patterns = [word for what, word in words.items() if what != "the bucket"]
    with work_folder(ground.victim) as folder:
        planted = f"drill{secrets.token_hex(8)}"
        # By stdin: the host's journal tells of commands.
        ground.victim.run("sh", "-c", f"cat >{folder}/planted", stdin=f"{planted}\n")
        seen = _looked(ground, folder, [planted, *patterns])
    yield control(
        "the look at the source's disk finds what was planted",
        f"{folder}/planted" in seen,
        f"{len(seen)} places",
    )
    rest = [place for place in seen if place != f"{folder}/planted"]
    yield judged(
        "files, journal, environments and command lines of the source",
        not rest,
        rest[:4] or "none names the storage",
    )


def _looked(ground: Ground, folder: str, patterns: Sequence[str]) -> list[str]:
    """The patterns are secrets: on stdin only, then in memory, root's alone."""
    ground.victim.run("sh", "-c", f"umask 077; cat >{folder}/patterns", stdin="\n".join(patterns) + "\n")
    return ground.victim.run("sh", "-c", DISK, "sh", f"{folder}/patterns", check=False).out.splitlines()


def _restic(made: Throwaway, words: dict[str, str]) -> Iterator[Finding]:
    said = (
        made.restic("-vv", "cat", "config").said
        + made.restic("-vv", "forget", made.snapshots[0], seconds=4).said
    )
    yield _judged("restic's own words about it, -vv", words, said)


def _broken(ground: Ground, made: Throwaway, words: dict[str, str]) -> Iterator[Finding]:
    """What rclone says about its configuration is its most telling word."""
    folder = f"{ROOM}/{made.name}"
    ways = {
        "a wrong secret key": ("credentials", "s/^(aws_secret_access_key)=.*/\\1=not-the-secret-at-all/"),
        "an unknown access key": ("credentials", "s/^(aws_access_key_id)=.*/\\1=nobody-known/"),
        "no key": ("credentials", "/^aws_/d"),
        "a closed port": ("rclone.conf", "s#^(endpoint = https?://[^:/]+).*#\\1:9#"),
        "a name that nobody knows": ("rclone.conf", "s#^endpoint = .*#endpoint = https://storage.invalid#"),
        "no such section": ("rclone.conf", "s/^\\[lastcopy\\]/[other]/"),
    }
    put_back = f"cp -a {folder}/kept/. {folder}"
    ground.relay.shell(f"cd {folder} && mkdir kept && cp -a credentials rclone.conf kept")
    try:
        for what, (file, line) in ways.items():
            ground.relay.shell(
                f"{put_back} && sed -i -E '{line}' {folder}/{file} && chgrp {made.account} {folder}/{file}"
            )
            with made.session() as session:
                said, answers = _walk(session, writing=True)
            yield _judged(f"an entry with {what}", words, f"{said} ")
            yield judged(
                f"an entry with {what} serves nothing",
                answers == 0,
                f"{answers} answers; said: {said.strip()[:80]}",
            )
    finally:
        ground.relay.shell(f"{put_back} && rm -r {folder}/kept", check=False)


def _outage(ground: Ground, made: Throwaway, words: dict[str, str]) -> Iterator[Finding]:
    said = ""
    with made.session(patience=25) as session:
        control_status = session.ask("HEAD", "/config").status
        with storage_cut(ground):
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
            except Gone as gone:
                said += gone.words
            said += session.words()
            with made.session(patience=25) as late:
                more, answers = _walk(late, writing=True)
            told = made.restic("cat", "config", seconds=6).said
    yield control(
        "the storage was out of reach",
        control_status == 200 and any(status >= 500 for status in statuses) and not answers,
        f"answers {statuses}",
    )
    yield _judged("a storage that goes away in the middle of a session", words, said)
    yield _judged("a session that begins in the outage", words, more)
    yield _judged("restic's own words in the outage", words, told)
