"""The options with which a suggested command reaches the same stack and storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops.access_request import AccessRequest, CommandOptions


def request(**given: Any) -> AccessRequest:
    nothing = dict.fromkeys(
        ("stack", "kit", "passphrase_file", "identity", "storage_key", "sandbox", "generation")
    )
    return AccessRequest(source="", **{**nothing, **given})


@pytest.mark.parametrize(
    ("given", "stack", "storage"),
    [
        (
            {"storage_key": "k.env"},
            "--stack acme/lastcopy/prod",
            "--stack acme/lastcopy/prod --storage-key k.env",
        ),
        ({"storage_key": "my key", "stack": "prod"}, "--stack prod", "--stack prod --storage-key 'my key'"),
        ({"sandbox": Path("s/local")}, "--sandbox s/local", "--sandbox s/local"),
        (
            {"kit": Path("k.age"), "identity": "me.txt"},
            "--stack acme/lastcopy/prod",
            "--kit k.age --identity me.txt",
        ),
    ],
    ids=["the selected stack", "a named stack", "the local stack", "a kit, which names its stack"],
)
def test_the_same_access_is_suggested(given: dict[str, Any], stack: str, storage: str) -> None:
    told = request(**given).options_for("acme/lastcopy/prod")
    assert told == CommandOptions(stack=stack, storage=storage)


def test_a_settings_file_is_passed_to_a_verb_that_changes_it() -> None:
    told = request(stack="prod", storage_key="k").options_for("prod", Path("/etc/prod.yaml"))
    assert told.stack == "--stack prod --config-file /etc/prod.yaml"
    assert "config-file" not in told.storage
