"""Pure parts of the drill's A rows: every form of a secret is recognised, and a one-time code is that of the standard."""

from __future__ import annotations

import base64

import pytest

from attack_drill.encodings import encodings
from attack_drill.exposed_secrets import KnownSecrets
from attack_drill.interruptions import killed_applying, on_a_full_disk
from attack_drill.relay_steps import with_line
from attack_drill.second_factor import totp_code

SECRET = "s3cr3t/of+more.than%32=characters~x"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "[lastcopy]\nsecret_access_key = "])
@pytest.mark.parametrize("after", ["", "z", "\n", "\nmore = less\n"])
def test_a_secret_within_any_text_is_found_in_base64(before: str, after: str) -> None:
    text = base64.b64encode(f"{before}{SECRET}{after}".encode()).decode()
    assert KnownSecrets(secrets={"it": SECRET}, planted="x" * 20).in_text(text) == ["it"]


@pytest.mark.parametrize(
    "text", [SECRET, SECRET.encode().hex(), "s3cr3t%2Fof%2Bmore.than%2532%3Dcharacters~x"]
)
def test_a_secret_is_found_plain_in_hex_and_in_a_url(text: str) -> None:
    assert KnownSecrets(secrets={"it": SECRET}, planted="x" * 20).in_text(f"word {text} word") == ["it"]


def test_another_secret_is_not_taken_for_it() -> None:
    other = base64.b64encode(f"x{SECRET.replace('3', '4')}".encode()).decode()
    assert KnownSecrets(secrets={"it": SECRET}, planted="x" * 20).in_text(other) == []
    assert all(len(form) >= 12 for form in encodings(SECRET))


def test_a_secret_on_a_host_is_reported_by_its_number() -> None:
    known = KnownSecrets(secrets={"one": SECRET, "two": SECRET.upper()}, planted="p" * 20)
    numbers = {int(line.split()[0]) for line in known.lines().splitlines()}
    assert {known.name(number) for number in numbers} == {"planted", "one", "two"}
    assert known.in_bytes({b"a\0" + SECRET.encode() + b"\0b"}) == ["one"]


@pytest.mark.parametrize(("at", "wanted"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_the_code_is_that_of_rfc_6238(at: int, wanted: str) -> None:
    assert totp_code(base64.b32encode(b"12345678901234567890").decode(), at) == wanted


def test_an_added_line_comes_before_the_one_that_it_must_override() -> None:
    values = {"DROPIN_92": "# a\nPort 22\nX no\n", "DROPIN_100": "# a\nPort 22\nX no\n", "ADMIN": "admin"}
    assert with_line(values, "X yes")["DROPIN_100"] == "# a\nX yes\nPort 22\nX no\n"
    assert with_line(values, "X yes")["ADMIN"] == "admin"


def test_a_step_is_killed_without_a_chance_to_clean_up() -> None:
    assert "timeout -s KILL 0.080 sh $step apply" in killed_applying(80)
    assert "size=4k" in on_a_full_disk("4k")
