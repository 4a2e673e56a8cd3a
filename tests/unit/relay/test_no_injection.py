"""No value can add a line or an option to a rendered file of the relay: it is passed on unchanged, or refused."""

from __future__ import annotations

import base64
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.relay.entry import rclone_config
from components.relay.entry import source_account_files as relay
from components.relay.firewall import endpoints, firewall_rules
from components.relay.sshd import sshd_config as sshd
from components.relay.sshd.sshd_config import SshdPlan
from components.settings import Limits
from components.storage.service_facts import StorageService, Uploads
from components.storage.services import SERVICES

SERVICE = st.sampled_from(list(SERVICES.values()))

# Text that often breaks things, mixed with anything at all.
NASTY = st.lists(
    st.sampled_from(
        [
            "\n",
            "\r",
            "\0",
            '"',
            "'",
            "\\",
            "`",
            "$(id)",
            ";",
            "#",
            " ",
            "\t",
            ",",
            "%(",
            "%h",
            "..",
            "/",
            ":",
            "@",
            "{",
            "}",
            "=",
            "[x]",
            'command="sh"',
            "PermitRootLogin yes",
            "Match all",
            "accept",
            "ssh-ed25519",
            "AAAA",
            "\u2028",
            "\x85",
            "\x1b",
            "-o",
            "--",
        ]
    )
    | st.text(max_size=6),
    max_size=6,
).map("".join)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,22}", fullmatch=True)
KEYS = st.binary(min_size=32, max_size=32).map(
    lambda raw: "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + raw).decode()
)
LINE = re.compile(
    r'restrict,command="/usr/local/lib/lastcopy/serve-restic [a-z][a-z0-9-]*"(,from="[0-9a-f.:/,]+")? ssh-ed25519 [A-Za-z0-9+/]{68} [a-z][a-z0-9-]*\n\Z'
)


@given(
    source=NAMES | NASTY,
    key=KEYS,
    comment=NASTY,
    networks=st.lists(NASTY | st.just("203.0.113.0/24"), max_size=3),
)
def test_authorized_keys_is_one_restricted_line(
    source: str, key: str, comment: str, networks: list[str]
) -> None:
    try:
        line = relay.authorized_key(source, f"{key} {comment}", networks)
    except ValueError:
        return
    assert LINE.match(line), line
    assert line.count("\n") == 1


@given(NASTY)
def test_only_an_ed25519_key_is_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="not a public key"):
        relay.public_key(text)
    with pytest.raises(ValueError, match="not a public key"):
        relay.public_key(f"ssh-ed25519 {text}")


@given(source=NAMES, key=KEYS)
def test_a_good_key_is_passed_on_unchanged(source: str, key: str) -> None:
    assert f" {key} {source}\n" in relay.authorized_key(source, key + " me@here", [])


@given(values=st.tuples(NASTY, NASTY, NASTY), service=SERVICE)
def test_rclone_conf_has_one_section_and_one_line_a_value(
    values: tuple[str, str, str], service: StorageService
) -> None:
    endpoint, region, file = values
    refusal = ""
    try:
        text = rclone_config.s3_conf(
            uploads=service.uploads(), endpoint=endpoint, region=region, credentials_file=file
        )
    except ValueError as error:
        refusal = str(error)
    if refusal:  # it names the key, never the value
        assert re.match(
            r"rclone\.conf cannot carry this (endpoint|region|shared_credentials_file): it begins", refusal
        )
        return
    lines = text.splitlines()
    assert lines[0] == "[lastcopy]"
    names = [line.split(" = ")[0] for line in lines[1:]]
    assert names[:8] == [
        "type",
        "provider",
        "env_auth",
        "profile",
        "shared_credentials_file",
        "endpoint",
        "region",
        "no_check_bucket",
    ]
    assert len(names) == len(set(names))
    assert f"endpoint = {endpoint}" in lines


@given(key=NASTY, secret=NASTY, service=SERVICE)
def test_the_file_of_the_key_has_one_profile_and_one_line_a_value(
    key: str, secret: str, service: StorageService
) -> None:
    refusal = ""
    try:
        text = rclone_config.s3_credentials(
            uploads=service.uploads(), access_key_id=key, secret_access_key=secret
        )
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("a storage key is of visible ASCII characters")
        return
    lines = text.splitlines()
    assert lines[0] == "[profile lastcopy]"
    assert [line.split("=")[0] for line in lines[1:]] == [
        "aws_access_key_id",
        "aws_secret_access_key",
        "request_checksum_calculation",
        "response_checksum_validation",
    ]
    assert f"aws_secret_access_key={secret}" in lines


@given(st.lists(NASTY, max_size=5))
def test_a_section_from_the_stack_file_stays_one_section(lines: list[str]) -> None:
    try:
        text = relay.section_conf("type = sftp\n" + "\n".join(lines))
    except ValueError:
        return
    found = text.splitlines()
    assert [line for line in found if line.startswith("[")] == ["[lastcopy]"]
    assert all(re.match(r"[a-z0-9_]+ = ", line) for line in found[1:])


@given(source=NAMES | NASTY, root=NASTY, generation=st.integers(1, 10**6))
def test_a_storage_path_stays_below_its_root(source: str, root: str, generation: int) -> None:
    try:
        path = relay.storage_path(root, source, generation)
    except ValueError:
        return
    parts = path.split("/")
    assert ".." not in parts
    assert "" not in parts
    assert parts[-2:] == [source, f"g{generation}"]
    assert re.fullmatch(r"[A-Za-z0-9._@:+/-]+", path)


@given(
    source=NAMES,
    root=st.from_regex(r"[A-Za-z0-9._-]{1,20}(/[A-Za-z0-9_-]{1,9}){0,2}", fullmatch=True),
    uploads=st.none() | SERVICE.map(StorageService.uploads),
    ca=st.booleans(),
)
def test_serve_conf_holds_the_limits_and_the_append_only_arguments(
    source: str, root: str, uploads: Uploads | None, ca: bool
) -> None:
    try:
        text = relay.serve_conf(
            source, path=relay.storage_path(root, source, 1), limits=Limits(), uploads=uploads, ca=ca
        )
    except ValueError:
        return
    words = [line.split(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    assert {name for name, _ in words} == {
        "sessions",
        "processes",
        "memory_mib",
        "open_files",
        "hours",
        "file_bytes",
        "look_fine",
        "arg",
    }
    arguments = [rest for name, rest in words if name == "arg"]
    assert arguments[:4] == ["serve", "restic", "--stdio", "--append-only"]
    assert arguments[-1] == f"lastcopy:{root}/{source}/g1/"
    assert ("If-None-Match: *" in arguments) == (uploads is not None and uploads.condition)


@given(admin=NASTY, port=st.integers(1, 65535), networks=st.lists(NASTY, max_size=2))
def test_the_sshd_drop_in_gets_no_additional_line(admin: str, port: int, networks: list[str]) -> None:
    try:
        text = sshd.drop_in(
            SshdPlan(admin_user=admin, second_factor="fido2", listen_port=port, trusted_networks=networks),
            "10.0",
        )
    except ValueError:
        return
    plain = sshd.drop_in(SshdPlan(admin_user="admin", second_factor="fido2", listen_port=22), "10.0")
    assert len(text.splitlines()) == len(plain.splitlines())
    assert [line.split()[:1] for line in text.splitlines()] == [
        line.split()[:1] for line in plain.splitlines()
    ]


@given(name=NASTY, key=NASTY, factor=st.sampled_from(["none", "fido2", "totp"]))
def test_a_persons_key_file_gets_no_additional_line_or_option(
    name: str, key: str, factor: sshd.SecondFactor
) -> None:
    try:
        found = sshd.people_keys({name: [key]}, factor)
    except ValueError:
        return
    assert found[name].count("\n") == 1
    assert found[name].startswith(f"{name} restrict,port-forwarding")


@given(host=NASTY, port=st.integers(1, 65535), ssh=st.integers(1, 65535))
def test_the_firewall_gets_no_additional_rule(host: str, port: int, ssh: int) -> None:
    try:
        storage = [endpoints.Endpoint(host, port)]
        text, names = firewall_rules.firewall_rules(storage, ssh), endpoints.lookup_lines(storage)
    except ValueError:
        return
    assert re.fullmatch(r"([A-Za-z0-9.-]+ [0-9]+\n)?", names)
    elements = re.findall(r"elements = \{ ([^}]*) \}", text)
    assert all(re.fullmatch(r"[0-9a-fA-F.:]+ \. [0-9]+", one) for one in elements)
    bare = re.sub(r"\n    elements = \{[^\n]*", "", text)
    assert bare == firewall_rules.firewall_rules([], ssh)


@given(url=NASTY, bucket=st.just("backups"))
def test_an_endpoint_is_a_url_or_refused(url: str, bucket: str) -> None:
    try:
        found = endpoints.s3_endpoints(url, bucket)
    except ValueError:
        return
    for endpoint in found:
        assert shlex.quote(endpoint.host) == endpoint.host or ":" in endpoint.host
