"""No secret's value is in an error, a repr or a str, whatever is wrong with it or beside it (A2)."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.settings import Settings, SettingsError, list_warnings, parse_settings
from components.settings.model import KEEP_PARTIAL
from components.settings.problems import LONGEST_HARMLESS, format_path, quote_harmless
from tests.unit.settings.bad import RCLONE
from tests.unit.settings.bad_aws import AWS
from tests.unit.settings.support import KEYS, leaks, parse, private_key, refused, stack

# 24 and more characters, so that no secret can stand in a message by chance.
SECRETS = st.text(
    alphabet=string.ascii_letters + string.digits + "!$%&/()=?*+ \n\t\"'\\`äß€", min_size=24, max_size=60
)
# In the wrong place, where an error looks at it: with characters that no name has, and of plain words, which every rule but one of length takes for a name.
WORDS = st.lists(st.text(string.ascii_lowercase, min_size=3, max_size=9), min_size=4, max_size=8)
MISPLACED = (
    SECRETS.map(lambda secret: f"{secret}!")
    | st.text(alphabet=string.ascii_letters + string.digits + "+/", min_size=24, max_size=60)
    | WORDS.map("".join).filter(lambda text: len(text) > 23)
)
PASSPHRASES = st.tuples(st.sampled_from(["", " ", "-", ".", "_", "[", "Z"]), WORDS).map(
    lambda made: made[0].join(made[1])
)


def said(raw: dict[str, object]) -> str:
    """Everything that a stack prints: its error, or its settings in every form that could reach a log."""
    partial = Settings.model_validate(raw, context=KEEP_PARTIAL)
    of_partial = f"{partial!r}{partial}{partial.findings!r}{partial.__dict__!r}"
    return of_partial + _said_by_parsing(raw)


def _said_by_parsing(raw: dict[str, object]) -> str:
    try:
        made = parse(raw)
    except SettingsError as error:
        return f"{error}{error!r}{error.problems!r}{error.__context__!r}{error.__cause__!r}"
    return f"{made}{made!r}{made.model_dump()}{made.model_dump_json()}{list_warnings(made)}"


@given(password=SECRETS, key=SECRETS, broken=st.booleans())
@example(password="correct-horse-Battery-9-staple", key="kW8bGxNcTq31LmZpRu5y7v0E", broken=False)
def test_passwords_and_storage_keys_stay_secret(password: str, key: str, broken: bool) -> None:
    raw = stack("{sources: [{paths: 5}]}" if broken else "{}")
    raw["sources"][0] |= {"password": password}
    raw["sources"][1]["identity"] = {"accessKeyId": "EXAMPLE-DB1", "secretAccessKey": key}
    text = said(raw)
    assert not leaks(text, password)
    assert not leaks(text, key)


@given(
    secret=SECRETS,
    form=st.sampled_from(["type = b2\nkey = {}", "{}", "[{}]", "type = {}", "{} = 1", "type = b2\n{}"]),
)
def test_no_line_of_an_rclone_section_is_repeated(secret: str, form: str) -> None:
    raw = stack(base=RCLONE)
    raw["storage"]["rclone"]["section"] = form.format(secret)
    assert not leaks(said(raw), secret)


@given(secret=MISPLACED, place=st.integers(0, 9))
def test_a_secret_in_the_wrong_place_is_not_repeated_either(secret: str, place: int) -> None:
    raw = stack()
    web1 = raw["sources"][0]
    mistakes: list[Callable[[], Any]] = [
        lambda: web1.update({"pasword": secret}),  # misspelt key
        lambda: web1.update({f"password:{secret}": None}),  # the space behind the colon forgotten
        lambda: web1.update({"password": {"value": secret}}),
        lambda: web1.update({"password": [secret]}),
        lambda: web1["identity"].update({"accessKeyId": secret}),  # the two halves swapped
        lambda: web1["identity"].update({"secretAccessKey": {"secure": secret}}),
        lambda: raw["admin"].update({"privateKeyFile": secret}),
        lambda: web1["host"].update({"hostKey": secret}),
        lambda: raw["storage"]["s3"].update({"endpoint": f"https://user:{secret}@s3.example.com"}),
        lambda: raw.update({"admin": secret}),
    ]
    mistakes[place]()
    raw["environment"] = (
        "PROD"  # so that there is an error to look at, even where the mistake has an allowed form
    )
    assert not leaks(str(refused(raw)), secret)


@pytest.mark.parametrize(
    ("place", "key"),
    [
        (("intermediate", "existing"), "hostKey"),
        (("intermediate", "existing"), "address"),
        (("admin",), "privateKeyFile"),
        (("admin",), "user"),
        (("storage", "s3"), "caCertificate"),
        (("storage", "s3"), "bucket"),
        (("storage", "s3"), "region"),
    ],
)
def test_a_private_key_in_place_of_a_public_value_is_not_repeated(place: tuple[str, ...], key: str) -> None:
    raw = stack()
    at = raw
    for part in place:
        at = at[part]
    body = private_key().splitlines()[1]
    for form in (private_key(), body, body[:40]):
        at[key] = form
        if (
            form != body[:40] or key != "address"
        ):  # a piece of base64 may look like a host name, a whole key never
            assert not leaks(str(refused(raw)), form)


@given(secret=MISPLACED, factor=st.sampled_from(["none", "totp"]))
def test_a_persons_totp_secret_stays_secret(secret: str, factor: str) -> None:
    raw = stack()
    person = {"name": "alice", "publicKeys": [KEYS["ADMIN-KEY"]], "totpSecret": secret}
    raw["admin"] |= {"secondFactor": factor, "people": [person, {**person, "name": secret}]}
    assert not leaks(said(raw), secret)


@given(secret=MISPLACED, place=st.integers(0, 7))
def test_a_secret_in_place_of_a_name_on_aws_is_not_repeated(secret: str, place: int) -> None:
    raw = stack("{environment: PROD}", AWS)
    machine, vault = raw["intermediate"]["ec2"], raw["storage"]["aws"]
    at, key = [
        (raw["aws"], "account"), (raw["aws"], "profile"), (raw["aws"], "assumeRole"), (machine, "adminPublicKey"),
        (machine, "openToAllBecause"), (vault, "breakGlass"), (vault, "kmsKey"), (vault, "bucket"),
    ][place]  # fmt: skip
    at[key] = secret
    assert not leaks(str(refused(raw)), secret)


# Where text belongs that is no secret: names, addresses, times, paths and words.
PLAIN_PLACES: tuple[tuple[str | int, ...], ...] = (
    ("environment",), ("admin", "user"), ("admin", "secondFactor"), ("intermediate", "existing", "address"),
    ("intermediate", "existing", "sourcesReachItAt"), ("intermediate", "existing", "directory"), ("storage", "s3", "region"),
    ("storage", "s3", "bucket"), ("storage", "s3", "prefix"), ("storage", "s3", "provider"), ("sources", 0, "name"),
    ("sources", 0, "host", "address"), ("sources", 0, "host", "user"), ("sources", 0, "host", "jumpHost"), ("sources", 0, "paths"),
    ("sources", 0, "exclude"), ("sources", 0, "excludeIfPresent"), ("sources", 0, "excludeLargerThan"), ("sources", 0, "schedule"),
    ("sources", 0, "randomizedDelay"), ("sources", 0, "preHook"), ("sources", 0, "from"),
)  # fmt: skip


def _misplaced(place: tuple[str | int, ...], secret: str) -> str:
    """The error of a stack with the secret in this place."""
    raw = stack("{protect: maybe}")  # so that there is an error, even where the secret has the allowed form
    at: Any = raw
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = (
        [secret] if place[-1] in ("paths", "exclude", "excludeIfPresent", "from", "directory") else secret
    )
    return str(refused(raw))


@pytest.mark.parametrize(
    "place", PLAIN_PLACES, ids=lambda place: format_path(place).removeprefix("lastcopy:")
)
def test_a_passphrase_where_a_name_belongs_is_not_repeated(place: tuple[str | int, ...]) -> None:
    """It may look like a name: errors describe the value, they do not quote it."""
    for secret in (
        "correcthorsebatterystaple",
        "hunter2hunter2",
        "Tr0ub4dor&3",
        "jbsw y3dp ehpk 3pxp gezd gnbv",
    ):
        assert not leaks(_misplaced(place, secret), secret)


@given(place=st.sampled_from(PLAIN_PLACES), secret=PASSPHRASES)
def test_no_passphrase_where_a_name_belongs_is_repeated(place: tuple[str | int, ...], secret: str) -> None:
    assert not leaks(_misplaced(place, secret), secret)


def test_sabotage_errors_that_quote_plain_words_repeat_a_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.settings.problems.LONGEST_HARMLESS", 48)
    secret = "correcthorsebatterystaple"
    assert leaks(_misplaced(("sources", 0, "name"), secret), secret)


def test_what_is_quoted_is_shorter_than_every_secret() -> None:
    raw = stack("{environment: PROD}")
    for length in range(LONGEST_HARMLESS + 1):
        raw["sources"][0]["password"] = raw["sources"][0]["identity"]["secretAccessKey"] = "aB3$efgh"[:length]
        places = {problem.where for problem in refused(raw).problems}
        assert {place.rpartition(".")[2] for place in places} >= {"password", "secretAccessKey"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Web1", '"Web1"'),
        ("10.0.0.256", '"10.0.0.256"'),
        ("8.8.8.0/24", '"8.8.8.0/24"'),
        ("10.0.0.1:70000", '"10.0.0.1:70000"'),
        ("2001:db8::1/64", '"2001:db8::1/64"'),
        ("*-*-* 25:00:00", '"*-*-* 25:00:00"'),
        ("Fri..Mon 04:00", '"Fri..Mon 04:00"'),
        ("fe80::1%correcthorse", "the value (20 characters)"),
        ("correcthorsebatterystaple", "the value (25 characters)"),
        ("correct horse", "the value (13 characters; character 8 is a space)"),
        ("Ma\nb", "the value (4 characters; character 3 is U+000A)"),
        (5, "the value"),
    ],
)
def test_a_refused_value_is_quoted_or_described(value: object, told: str) -> None:
    assert quote_harmless(value) == told


def test_of_a_form_the_first_wrong_character_is_named() -> None:
    def told(environment: str) -> str:
        return refused(stack(f"{{environment: {environment}}}")).problems[0].what

    assert (
        told("production_Site") == "the value (15 characters; character 11 is `_`) is not of the allowed form"
    )
    assert told("WEBSERVERS") == "the value (10 characters; character 1 is `W`) is not of the allowed form"
    assert told("a" * 32) == "the value (32 characters) is not of the allowed form", (
        "it is too long, no character is wrong"
    )


def test_an_accepted_private_key_is_not_shown() -> None:
    raw = stack()
    raw["admin"] = {"privateKey": private_key()}
    assert not leaks(said(raw), private_key())


def test_this_check_sees_a_leak() -> None:
    """The sabotage: pydantic's own error repeats the refused value, and the check above notices."""

    class Careless(pydantic.BaseModel):
        password: int

    secret = "correct-horse-Battery-9-staple"
    with pytest.raises(pydantic.ValidationError) as caught:
        Careless.model_validate({"password": secret})
    assert leaks(str(caught.value), secret)


def test_pydantics_own_error_does_not_escape() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(stack("{sources: [{password: 5}]}"), stack_file="stacks/Pulumi.prod.yaml")
    assert caught.value.__context__ is None
