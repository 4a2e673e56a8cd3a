"""Every accepted text is safe in a file and on a command line."""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.settings import ExistingHost, HostPort, ManagedHost, Settings
from components.settings.calendar import parse_time_span
from components.settings.on_calendar import OnCalendar
from components.settings.selection import CANARY_NAMES
from components.settings.values import parse_host_port
from ops.restore_test import canary
from tests.unit.settings import support
from tests.unit.settings.bad import RCLONE
from tests.unit.settings.support import field, stack

NASTY = st.sampled_from(
    ["\n", "\r", "\0", "\x1b[2J", " ", '"', "'", "`", "$(id)", ";id", "-o", "%(x)s", "..", "\u202e", "\u2028"]
)
TEXT = st.text(max_size=40)


def mixed(plain: str) -> st.SearchStrategy[str]:
    """Plain values, arbitrary text, and plain values with something harmful inside or around."""
    around = st.tuples(st.from_regex(plain, fullmatch=True), NASTY, st.booleans())
    return st.one_of(
        st.from_regex(plain, fullmatch=True), TEXT, around.map(lambda x: x[0] + x[1] if x[2] else x[1] + x[0])
    )


def accepted(place: tuple[Any, ...], value: object, base: str | None = None) -> Settings | None:
    raw = stack(base=base) if base else stack()
    at: Any = raw
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    return support.accepted(raw)


@given(mixed(r"[a-z][a-z0-9-]{0,30}"))
@example("web1\n")
@example("-web1")
def test_accepted_names_are_account_names(name: str) -> None:
    settings = accepted(("sources", 0, "name"), name)
    assert settings is None or re.fullmatch(r"[a-z][a-z0-9-]{0,22}", settings.sources[0].name)


@given(st.from_regex(r"[a-z][a-z0-9-]{0,22}", fullmatch=True).filter(lambda n: n not in {"db1", "relay"}))
def test_every_name_of_the_documented_form_is_accepted(name: str) -> None:
    assert accepted(("sources", 0, "name"), name) or name in {"storage", "network", "vault", "sandbox"}


@given(st.one_of(mixed(r"[A-Za-z0-9.-]{1,30}"), st.ip_addresses().map(str)))
@example("-oProxyCommand=reboot")
@example("fe80::1%eth0")
@example("host name")
@example("1.2.3")
def test_accepted_addresses_start_no_option_and_need_no_quotes(address: str) -> None:
    settings = accepted(("sources", 0, "host", "address"), address)
    if settings is None:
        return
    host = settings.sources[0].host
    assert isinstance(host, ManagedHost)
    assert re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:-]*", host.address)
    assert host.address == address


@given(
    st.ip_addresses().filter(lambda ip: not (ip.is_unspecified or ip.is_multicast or ip.is_link_local)),
    st.integers(1, 65535),
)
def test_every_address_of_one_host_is_accepted_and_read_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    settings = accepted(("intermediate", "existing", "sourcesReachItAt"), str(address))
    assert settings is not None
    assert isinstance(settings.intermediate, ExistingHost)
    assert settings.intermediate.as_sources_see_it() == HostPort(str(address), 22)
    read = parse_host_port(f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}")
    assert (read.address, read.port) == (str(address), port)
    assert parse_host_port(str(read)) == read


BLOBS = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda key: field(b"ssh-ed25519") + field(key)),
    st.binary(max_size=80),
    st.binary(max_size=60).map(lambda key: field(b"ssh-ed25519") + field(key)),
    st.binary(min_size=32, max_size=32).map(lambda key: field(b"ssh-rsa") + field(key)),
)


@given(BLOBS, st.sampled_from(["", " comment", " a b", "\n", "\nssh-ed25519 AAAA", '" x', " \u2028x"]))
def test_accepted_keys_are_whole_keys_on_one_line(blob: bytes, tail: str) -> None:
    line = f"ssh-ed25519 {base64.b64encode(blob).decode()}{tail}"
    settings = accepted(("sources", 0, "host", "hostKey"), line)
    whole = len(blob) == 51 and blob.startswith(field(b"ssh-ed25519") + b"\0\0\0\x20")
    if settings is not None:
        host = settings.sources[0].host
        assert isinstance(host, ManagedHost)
        assert whole
        assert host.host_key == f"ssh-ed25519 {base64.b64encode(blob).decode()}"
    else:
        assert (
            not whole
            or len(tail.splitlines()) > 1
            or tail == "\n"
            or tail.startswith('"')
            or "\u2028" in tail
        )


@given(mixed(r"/[a-z /.$'-]{0,20}"))
@example("/srv\n/etc")
@example("/srv/../etc/shadow")
def test_accepted_paths_are_absolute_and_one_line(path: str) -> None:
    settings = accepted(("sources", 0, "paths"), [path])
    if settings is not None:
        (kept,) = settings.sources[0].paths
        assert kept == path
        assert kept.startswith("/")
        assert kept.isprintable()
        assert ".." not in kept.split("/")


@given(mixed(r"/[a-z.-]{1,20}"))
@example("/bin/sh -c id")
def test_accepted_hooks_are_one_word(path: str) -> None:
    settings = accepted(("sources", 0, "preHook"), path)
    assert settings is None or re.fullmatch(r"/[A-Za-z0-9._+/-]+", settings.sources[0].pre_hook or "")


@given(mixed(r"[a-z*:.,/0-9 -]{1,20}"))
@example("daily\nExecStart=/bin/sh")
def test_accepted_schedules_hold_nothing_but_a_calendar(text: str) -> None:
    if OnCalendar.parse(text) is not None:
        assert re.fullmatch(r"[A-Za-z0-9*.,:/_+ -]+", text)
        assert "\n" not in text


@given(mixed(r"[0-9]{1,3} ?(s|m|h|min)"))
def test_accepted_time_spans_hold_nothing_but_numbers_and_units(text: str) -> None:
    if parse_time_span(text) is not None:
        assert re.fullmatch(r"[0-9a-z ]+", text)


@given(mixed(r"[a-z./-]{0,20}"))
@example("a\n")
def test_accepted_prefixes_stay_inside_the_storage(prefix: str) -> None:
    settings = accepted(("storage", "rclone", "path"), prefix, RCLONE)
    if settings is not None:
        parts = settings.storage.path.split("/")  # type: ignore[union-attr]
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", part) and part not in (".", "..") for part in parts)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT,
        lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXT, x, max_size=3),
        max_leaves=8,
    )
)
@pytest.mark.parametrize(
    "place",
    [("admin",), ("intermediate",), ("storage",), ("sources",), ("sources", 0), ("storage", "s3", "lock")],
)
def test_every_form_of_value_ends_in_settings_or_a_settings_error(
    place: tuple[Any, ...], value: object
) -> None:
    accepted(place, value)


def test_no_tag_file_may_be_named_like_a_canary() -> None:
    assert {part for name in canary.expected("") for part in name.split("/")} == set(CANARY_NAMES)
