"""What a drill refuses before it touches anything, and which stacks it may harm."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.drill.errors import DrillError
from ops.drill.ground import _doors, is_trial
from ops.drill.rows import PLAYS
from ops.drill.storage import MARKER, Stored, lost
from ops.drill.threats import THREATS


@pytest.mark.parametrize(
    ("config", "trial"),
    [
        ({"storage": {"sandbox": {}}}, True),
        ({"storage": {"aws": {"bucket": "b", "purpose": "test"}}}, True),
        ({"storage": {"aws": {"bucket": "b", "purpose": "production"}}}, False),
        ({"storage": {"aws": {"bucket": "b"}}}, False),
        ({"storage": {"s3": {"bucket": "b"}}}, False),
        ({"storage": {"rclone": {}}}, False),
        ({}, False),
    ],
)
def test_only_storage_made_for_trials_may_be_harmed(config: dict[str, object], trial: bool) -> None:
    assert is_trial(config) is trial


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--throwaway"], "--storage-key"),
        (["--trial-stack"], "--storage-key"),
        (["--storage-key", "k", "--sandbox", "."], "one of them"),
        (["--html", "/no/such/folder/x.html"], "there is no folder"),
        (["--rows", "S99"], "no row S99"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_dialled(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["drill", "--stack", "nowhere", *words])
    assert done.exit_code == 1
    assert said in done.output


def stored(key: str, version: str, digest: str = "d", *, latest: bool = True) -> Stored:
    return Stored(key=key, version=version, digest=digest, latest=latest)


def test_every_harm_to_what_stood_is_seen_and_additions_are_none() -> None:
    before = [stored("a", "1"), stored("b", "1"), stored("c", "1"), stored("d", "1")]
    after = [
        stored("a", "1", "other"),
        stored("c", "1", latest=False),
        stored("c", "2", MARKER),
        stored("d", "1", latest=False),
        stored("d", "2"),
        stored("new", "1"),
    ]
    assert lost(before, after) == ["changed: a", "covered by a newer version: d", "gone: b", "hidden: c"]
    assert lost(before, [*before, stored("new", "1")]) == []


def test_every_row_of_the_threat_model_has_a_play() -> None:
    assert list(PLAYS) == [threat.id for threat in THREATS]
    assert len(THREATS) == 27


OUTPUTS = {
    "relay": {"address": "relay.example.com", "hostKey": "ssh-ed25519 AAAAr"},
    "sources": {"web1": {"hostKey": "ssh-ed25519 AAAA1"}, "db1": {"hostKey": "ssh-ed25519 AAAA2"}},
}


def test_hosts_are_dialled_as_the_stack_file_says_with_the_outputs_host_keys() -> None:
    config = {
        "admin": {"user": "ops", "privateKeyFile": "/keys/admin"},
        "intermediate": {"existing": {"address": "relay.example.com", "port": 2222}},
        "sources": [
            {"name": "web1", "host": {"address": "web1.example.com"}},
            {
                "name": "db1",
                "host": {"address": "10.0.0.9", "port": 22022, "user": "root", "privateKeyFile": "/keys/db"},
            },
            {"name": "ext1", "publicKey": "ssh-ed25519 AAAA3"},
        ],
    }
    doors = {door.name: door for door in _doors(config, OUTPUTS, ["web1", "db1"])}
    dialled = {
        name: (door.user, door.address, door.port, str(door.key_file), door.host_key)
        for name, door in doors.items()
    }
    assert dialled == {
        "relay": ("ops", "relay.example.com", 2222, "/keys/admin", "ssh-ed25519 AAAAr"),
        "web1": ("ops", "web1.example.com", 22, "/keys/admin", "ssh-ed25519 AAAA1"),
        "db1": ("root", "10.0.0.9", 22022, "/keys/db", "ssh-ed25519 AAAA2"),
    }


def test_an_agent_holds_the_key_where_there_is_no_file_and_a_key_in_the_stack_file_is_refused() -> None:
    config = {"admin": {"agent": True}, "intermediate": {"ec2": {}}, "sources": []}
    (relay,) = _doors(config, OUTPUTS, [])
    assert (relay.user, relay.port, relay.key_file) == ("admin", 22, None)
    with pytest.raises(DrillError, match="privateKeyFile"):
        _doors({"admin": {"privateKey": {"secure": "x"}}}, OUTPUTS, [])
