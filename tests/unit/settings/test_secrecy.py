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
from tests.unit.settings.bad import RCLONE
from tests.unit.settings.bad_aws import AWS
from tests.unit.settings.support import KEYS, leaks, parse, private_key, refused, stack

# 24 and more characters, so that no secret can stand in a message by chance.
SECRETS = st.text(
    alphabet=string.ascii_letters + string.digits + "!$%&/()=?*+ \n\t\"'\\`äß€", min_size=24, max_size=60
)
# In the wrong place. A few words of letters and digits are shown there as a slip that its author must see: nothing tells them from a name.
MISPLACED = SECRETS.map(lambda secret: f"{secret}!") | st.text(
    alphabet=string.ascii_letters + string.digits + "+/", min_size=24, max_size=60
)


def said(raw: dict[str, object]) -> str:
    """All that a stack says of itself: its error, or its settings in every form that ends in a log."""
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
def test_a_private_key_where_a_public_value_belongs_is_not_repeated(place: tuple[str, ...], key: str) -> None:
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
def test_a_secret_in_the_place_of_a_name_in_aws_is_not_repeated(secret: str, place: int) -> None:
    raw = stack("{environment: PROD}", AWS)
    machine, vault = raw["intermediate"]["ec2"], raw["storage"]["aws"]
    at, key = [
        (raw["aws"], "account"), (raw["aws"], "profile"), (raw["aws"], "assumeRole"), (machine, "adminPublicKey"),
        (machine, "openToAllBecause"), (vault, "breakGlass"), (vault, "kmsKey"), (vault, "bucket"),
    ][place]  # fmt: skip
    at[key] = secret
    assert not leaks(str(refused(raw)), secret)


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
