"""The kit's files are age files: files that age 1.2.1 wrote can be opened, and changes are noticed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage import x25519

from ops.kit import age

# Written by the age program, version 1.2.1; at that time it also opened a file written by this project.
BY_PASSPHRASE = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCA5ZjlkMm1RS0FqVjVlaXl2NHIzK213IDE4Ck9yQjVWZGd0WVJRZlZnVmdZYWNlSS96cXR6"
    "NkZIWGVkSVRnRzBNcVRTOEkKLS0tIDV6akVwbHZtc3NQTE9BZG9sZkxpdXN5cStjbXA5S3l5cHIyTWtkeTVnc00KZ9MRmjiundEclo/4Pdj6BnHW"
    "p0bTCry1H/KhMsDpLyfkArW2+IjQkvNW"
)
# The same text, with the least work that the age library does (SetWorkFactor(10)): milliseconds in place of a second.
QUICK_BY_PASSPHRASE = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBiK3ZPZGh4cDVrUjRyVUxxdzZQM1pRIDEwClFaRW1YVXRKRWhkUmc0WGFNa2hqcTlLUGNh"
    "SkdzdUJTUXI1R2FRT3JrQmMKLS0tIG5mVTNRdlI0eTJyMnZaeVltVmIxazZ6bHppOTRUQjdjdWp4NEVOUGdqNVkKq7lRugW5+nsphcOqYUjSRtyY"
    "RwSdevtV9fYJq+96RDAEb8M1wh26ze/Z"
)
PASSPHRASE = "correct horse battery staple"
BY_RECIPIENT = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBKZU9mQU11VHJQQk5OWkRlY0ltS3FVZ21BQnp0Wm5aczFpMVFERVNjTmhzCnh5STZNK0tt"
    "L3BjSkYvZjlscE5FZnRqRFhGTWcvcW94SzFzWVIyZTRQRFUKLS0tIHpIajk2SWp2dU4yTmFkQVY2WDJ1Sy9RdWJaSWhvRWhZTkNYVHV0YldxS00K"
    "5u+M5ZNm021lIJs+Og/u0w88Rgq3Ek0rmqxV7ysuobZsfxxO3w3444ZZpcTay0mkQIl2"
)
IDENTITY = "AGE-SECRET-KEY-1UPUHFK8FHERF09FAK6JWXK2URKLKQKLL2903S06X9RQ8Q08WWXJQA35PQG"
RECIPIENT = "age1z985wl54pnpzva7739kpt38f2knz4htz8t8j5v9tgpagln59fv4szzagnk"


def test_files_of_the_age_program_can_be_opened() -> None:
    assert age.decrypt(QUICK_BY_PASSPHRASE, passphrase=PASSPHRASE) == b"top secret"
    assert age.decrypt(BY_RECIPIENT, identity=IDENTITY) == b"for the golden test"


def new_identity() -> tuple[str, str]:
    """A new identity and its recipient."""
    identity = x25519.Identity.generate()
    return str(identity), str(identity.to_public())


@given(st.one_of(st.binary(max_size=100), st.sampled_from([b"x" * 65535, b"x" * 65536, b"x" * 131073])))
def test_an_encrypted_kit_opens_for_each_recipient(text: bytes) -> None:
    identity, recipient = new_identity()
    sealed = age.encrypt(text, recipients=[RECIPIENT, recipient])
    assert age.decrypt(sealed, identity=IDENTITY) == age.decrypt(sealed, identity=identity) == text
    with pytest.raises(age.AgeError, match="does not open it"):
        age.decrypt(sealed, identity=new_identity()[0])


def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated() -> None:
    assert age.decrypt(QUICK_BY_PASSPHRASE, passphrase=PASSPHRASE) == b"top secret"
    with pytest.raises(age.AgeError, match="does not open it") as caught:
        age.decrypt(QUICK_BY_PASSPHRASE, passphrase="quite wrong")
    assert "quite wrong" not in str(caught.value)


def test_one_changed_bit_anywhere_is_noticed() -> None:
    sealed = age.encrypt(b"text " * 10, recipients=[RECIPIENT])
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(age.AgeError):
            age.decrypt(changed, identity=IDENTITY)


def test_a_truncated_file_is_noticed_even_between_chunks() -> None:
    sealed = age.encrypt(b"x" * 70000, recipients=[RECIPIENT])
    head = len(sealed) - (70000 + 2 * 16)
    for end in (0, 10, head - 1, head, head + 65536 + 16, len(sealed) - 1):
        with pytest.raises(age.AgeError):
            age.decrypt(sealed[:end], identity=IDENTITY)


def test_a_file_that_demands_all_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(age, "PAUSE_SECONDS", 0)
    greedy = BY_PASSPHRASE.replace(b" 18\n", b" 40\n")
    with pytest.raises(age.AgeError, match="work"):
        age.decrypt(greedy, passphrase=PASSPHRASE)


@given(st.binary(max_size=300))
def test_any_other_file_is_a_clear_error(text: bytes) -> None:
    for file in (text, age.MAGIC + text):
        with pytest.raises(age.AgeError):
            age.decrypt(file, identity=IDENTITY)


@given(st.integers(5, len(RECIPIENT) - 1), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_a_mistyped_recipient_is_noticed(at: int, letter: str) -> None:
    typed = RECIPIENT[:at] + letter + RECIPIENT[at + 1 :]
    assert age.is_recipient(typed) == (typed == RECIPIENT)
    assert not age.is_recipient(IDENTITY)


def test_recipients_or_a_passphrase() -> None:
    for both in ({}, {"passphrase": "x", "recipients": [RECIPIENT]}):
        with pytest.raises(age.AgeError, match="either a passphrase or recipients"):
            age.encrypt(b"", **both)  # type: ignore[arg-type]


@pytest.mark.parametrize("refusals", [2, age.TRIES])
def test_a_busy_machine_is_tried_again_and_then_reported(
    monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    answers = iter([age.pyrage.DecryptError("Excessive work parameter")] * refusals)

    def busy(*_: object) -> bytes:
        for answer in answers:
            raise answer
        return b"text"

    monkeypatch.setattr(age, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(age.by_passphrase, "decrypt", busy)
    if refusals < age.TRIES:
        assert age.decrypt(b"", passphrase=PASSPHRASE) == b"text"
    else:
        with pytest.raises(age.AgeError, match="too slow or too busy"):
            age.decrypt(b"", passphrase=PASSPHRASE)
