"""No text of a stack file can end a line, start an option or change its meaning in a file on a source."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.source.enrolment import client_files
from components.source.schedule import backup_files, backup_units
from tests.unit.recording import SAMPLE_KEY

FLOOR = "0.19.1"
NAUGHTY = ("\n", "\r", "\x00", "\x1b[2J", "\x85", "\u2028", "\u2029", "\ufeff", "\x7f")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
SAFE = TEXT.filter(
    lambda text: not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\ufeff" for c in text)
)


WHOLE: dict[str, Any] = {
    "one_file_system": False,
    "exclude_caches": False,
    "exclude_if_present": (),
    "exclude_larger_than": None,
    "shrink_percent": 50,
    "partial_days": 7,
    "may_be_empty": (),
    "upload": 0,
    "download": 0,
    "hours": (),
}


def backup_conf(source: str = "web1", pre: str | None = None, post: str | None = None) -> str:
    selection = backup_files.Selection(**WHOLE)
    return backup_files.backup_conf(
        source=source, read_concurrency=2, pre_hook=pre, post_hook=post, selection=selection
    )


def selected(**choices: Any) -> str:
    return backup_files.backup_conf(
        source="web1",
        read_concurrency=2,
        pre_hook=None,
        post_hook=None,
        selection=backup_files.Selection(**{**WHOLE, **choices}),
    )


def restic_conf(floor: str = FLOOR, compression: str = "auto") -> str:
    return client_files.restic_conf(floor=floor, connections=8, pack_size_mib=64, compression=compression)


def timer(calendar: str = "daily", delay: str = "30m", source: str = "web1") -> str:
    return backup_units.timer_unit(source=source, on_calendar=calendar, randomized_delay=delay)


# Every place where text of the stack reaches a file.
RENDERERS: dict[str, Callable[[str], str]] = {
    "ssh_config source": lambda text: client_files.ssh_config(text, "198.51.100.10", 22),
    "ssh_config address": lambda text: client_files.ssh_config("web1", text, 22),
    "known_hosts": client_files.known_hosts,
    "restic.conf floor": restic_conf,
    "restic.conf compression": lambda text: restic_conf(compression=text),
    "backup.conf source": backup_conf,
    "backup.conf pre hook": lambda text: backup_conf(pre=text),
    "backup.conf post hook": lambda text: backup_conf(post=text),
    "paths": lambda text: backup_files.paths_file([f"/{text}"]),
    "excludes": lambda text: backup_files.excludes_file([text]),
    "backup.conf tag file": lambda text: selected(exclude_if_present=[text]),
    "backup.conf size": lambda text: selected(exclude_larger_than=text),
    "backup.conf may be empty": lambda text: selected(may_be_empty=[text]),
    "timer calendar": timer,
    "timer delay": lambda text: timer(delay=text),
    "timer source": lambda text: timer(source=text),
    "service source": lambda text: backup_units.service_unit(source=text),
}


@pytest.mark.parametrize("naughty", NAUGHTY, ids=[repr(text) for text in NAUGHTY])
@pytest.mark.parametrize("renderer", RENDERERS.values(), ids=RENDERERS)
def test_no_control_character_gets_through_any_renderer(renderer: Callable[[str], str], naughty: str) -> None:
    for text in (naughty, f"a{naughty}", f"a{naughty}ProxyCommand evil", f"{naughty}a"):
        with pytest.raises(ValueError, match=r"allowed form|control character|not one of|absolute"):
            renderer(text)


@pytest.mark.parametrize("renderer", RENDERERS.values(), ids=RENDERERS)
@given(text=TEXT)
def test_no_text_adds_or_removes_a_line(renderer: Callable[[str], str], text: str) -> None:
    fitting = {
        "backup.conf size": "4G",
        "known_hosts": SAMPLE_KEY,
        "restic.conf floor": FLOOR,
        "restic.conf compression": "max",
    }
    name = next(name for name, other in RENDERERS.items() if other is renderer)
    plain = fitting.get(name, "/h" if "hook" in name else "web1")
    try:
        rendered = renderer(text)
    except ValueError:
        return
    assert len(rendered.split("\n")) == len(renderer(plain).split("\n"))
    assert len(rendered.splitlines()) == len(renderer(plain).splitlines())


@given(text=TEXT)
@example("-oProxyCommand=evil")
@example("relay %h")
@example("a b")
def test_an_address_cannot_be_an_option_or_be_expanded(text: str) -> None:
    try:
        rendered = client_files.ssh_config("web1", text, 22)
    except ValueError:
        return
    (line,) = [line for line in rendered.splitlines() if "HostName" in line]
    assert line == f"    HostName {text}"
    assert not set(text) & set("%$\"'#=, \t")
    assert not text.startswith("-")


@pytest.mark.parametrize(
    "address", ["198.51.100.10", "relay.example.com", "2001:db8::1", "::1", "xn--bcher-kva.example"]
)
def test_every_kind_of_address_is_accepted(address: str) -> None:
    assert f"HostName {address}\n" in client_files.ssh_config("web1", address, 22)


@given(paths=st.lists(SAFE.map(lambda text: f"/{text}"), min_size=1))
@example(["/-x", "/a b", "/quote'\"", "/%h%%n", "/$HOME", "/*?[a]", "/#x", "/ ", "/\\"])
def test_paths_are_written_exactly_as_given(paths: list[str]) -> None:
    assert backup_files.paths_file(paths).split("\n") == [*paths, backup_files.CANARY, ""]


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        backup_files.paths_file([""])


def as_restic_reads(line: str) -> str | None:
    """restic 0.19.1, internal/filter/exclude.go: trim, skip comments, expand $NAME with an empty environment."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    return line.replace("$$", "\0").replace("$", "<expanded>").replace("\0", "$")


def as_glob_reads(pattern: str) -> str:
    """What the one-character classes that we add stand for."""
    for char in ("#", *(chr(code) for code in range(0x3100) if chr(code).isspace())):
        pattern = pattern.replace(f"[{char}]", char)
    return pattern


@given(pattern=SAFE)
@example("#not-a-comment")
@example(" blank ")
@example("$HOME")
@example("$$")
@example("${PATH}*")
@example("-x")
def test_an_exclude_pattern_means_what_it_says(pattern: str) -> None:
    lines = backup_files.excludes_file([pattern]).split("\n")
    assert len(lines) == len(backup_files.NEVER_BACKED_UP) + 4
    assert lines[-2] == f"!{backup_files.CANARY}"
    read = as_restic_reads(lines[-3])
    assert read is not None
    assert as_glob_reads(read) == as_glob_reads(pattern)


def test_sabotage_excludes_without_quoting_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        backup_files,
        "excludes_file",
        lambda patterns: "\n".join(
            ["", *backup_files.NEVER_BACKED_UP, *patterns, "!/var/lib/lastcopy/canary", ""]
        ),
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_an_exclude_pattern_means_what_it_says()


@given(text=SAFE)
@example("*-*-* %H:%M:%S")
def test_no_specifier_is_expanded_in_the_timer(text: str) -> None:
    lines = timer(calendar=text, delay=text).splitlines()
    shown = {line.split("=", 1)[0]: line.split("=", 1)[1] for line in lines if "=" in line}
    for key in ("OnCalendar", "RandomizedDelaySec"):
        assert "%" not in shown[key].replace("%%", "")
        assert shown[key].replace("%%", "%") == text


@given(hook=st.from_regex(r"/[A-Za-z0-9._+/-]+", fullmatch=True))
def test_a_hook_is_one_plain_word(hook: str) -> None:
    conf = backup_conf(pre=hook, post=hook)
    assert f"pre_hook={hook}\n" in conf
    assert shlex.split(hook) == [hook]


@pytest.mark.parametrize("hook", ["/a b", "/a;b", "/a$b", "-x", "/a%b", '/a"b', "/ü"])
def test_a_hook_with_arguments_or_shell_characters_is_refused(hook: str) -> None:
    with pytest.raises(ValueError, match="allowed form"):
        backup_conf(pre=hook)


@pytest.mark.parametrize(
    "key",
    [
        "ssh-rsa AAAAB3NzaC1yc2E=",
        "ssh-ed25519",
        "",
        'from="*" ssh-ed25519 AAAA',
        "ssh-ed25519 AAAA!",
        "@cert-authority x",
    ],
)
def test_only_a_plain_ed25519_key_is_pinned(key: str) -> None:
    with pytest.raises(ValueError, match="allowed form"):
        client_files.known_hosts(key)


def test_a_comment_behind_a_key_is_dropped() -> None:
    assert client_files.known_hosts(f"{SAMPLE_KEY} root@relay") == f"lastcopy-relay {SAMPLE_KEY}\n"
