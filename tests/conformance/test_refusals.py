"""The engine's errors when it cannot read a stack are those that ops/engine_errors.py looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.stack import Stack as OperatorsStack
from ops.stack import StackError

from .stack import Stack


@pytest.fixture
def asked(stack: Stack, tmp_path: Path) -> OperatorsStack:
    """Read a stack with a secret setting, as a verb does."""
    (stack.folder / "Pulumi.test.yaml").touch()
    stack.pulumi("config", "set", "--secret", "lastcopy:word", "a secret")
    made = OperatorsStack(stack.folder, "test", {**stack.environ, "HOME": str(tmp_path)})
    made.environment.pop("PULUMI_STACK", None)
    return made


def refusal(stack: OperatorsStack) -> StackError:
    with pytest.raises(StackError) as raised:
        stack.config()
    return raised.value


def test_a_readable_stack_is_read(asked: OperatorsStack) -> None:
    assert asked.config() == {"word": "a secret"}


def test_error_without_a_login(asked: OperatorsStack) -> None:
    for name in ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"):
        asked.environment.pop(name, None)
    assert "not logged in" in refusal(asked).what


def test_error_for_a_missing_state_folder(asked: OperatorsStack, tmp_path: Path) -> None:
    asked.environment["PULUMI_BACKEND_URL"] = (tmp_path / "none").as_uri()
    found = refusal(asked)
    assert "cannot be opened" in found.what
    assert str(tmp_path / "none") in found.where


def test_error_for_a_missing_stack(asked: OperatorsStack) -> None:
    asked.name = "prod"
    found = refusal(asked)
    assert found.what == "there is no stack prod"
    assert "test" in found.allowed


def test_error_without_a_selected_stack(asked: OperatorsStack) -> None:
    with pytest.raises(StackError) as raised:
        asked.run("stack", "--show-name", quiet=True)
    assert raised.value.what == "no stack is selected"
    assert "test" in raised.value.allowed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "there is no passphrase"),
        ({"PULUMI_CONFIG_PASSPHRASE": "another"}, "is not the one of stack test"),
        ({"PULUMI_CONFIG_PASSPHRASE_FILE": "/no/such/file"}, "cannot be read"),
    ],
)
def test_error_for_a_wrong_passphrase(asked: OperatorsStack, given: dict[str, str], said: str) -> None:
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        asked.environment.pop(name, None)
    asked.environment.update(given)
    found = refusal(asked)
    assert said in found.what
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in found.where
