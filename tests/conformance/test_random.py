"""random:index: values that are generated once, kept, and secret if they are passwords."""

from __future__ import annotations

import string

from .stack import Stack

PROGRAM = """
import pulumi_random as random
password = random.RandomPassword("password", length=given.get("length", 32))
narrow = random.RandomPassword("narrow", length=12, lower=False, upper=False, numeric=False,
                               override_special="#%", min_numeric=3)
text = random.RandomString("text", length=20, special=False, min_upper=2, min_numeric=2)
number = random.RandomId("number", byte_length=4, prefix="x-", keepers={"for": given.get("keeper", "a")})
for name, value in dict(password=password.result, narrow=narrow.result, bcrypt=password.bcrypt_hash,
                        text=text.result, id=text.id, hex=number.hex, number=number.id).items():
    pulumi.export(name, value)
"""


def test_values_are_generated_once_and_passwords_are_secret(stack: Stack) -> None:
    told = stack.up(PROGRAM)
    first = stack.outputs()
    plain = told + stack.state()
    for name in ("password", "narrow", "bcrypt"):
        assert first[name] not in plain, name
    assert len(first["password"]) == 32
    assert set(first["password"]) & set(string.punctuation)
    assert first["bcrypt"].startswith("$2")
    assert len(first["narrow"]) == 12
    assert sum(letter in string.digits for letter in first["narrow"]) == 3
    assert set(first["narrow"]) - set(string.digits) <= set("#%")
    assert first["text"].isalnum()
    assert first["id"] == first["text"]
    assert first["hex"].startswith("x-")
    assert len(first["hex"]) == len("x-") + 8
    stack.unchanged()

    told = stack.up(PROGRAM, {"length": 33, "keeper": "b"})
    second = stack.outputs()
    assert "+-2 replaced" in told
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"password", "bcrypt", "hex", "number"}


def test_an_impossible_password_is_refused(stack: Stack) -> None:
    told = stack.fails("""
    import pulumi_random as random
    random.RandomPassword("it", length=2, min_lower=3)
    """)
    assert "length" in told
