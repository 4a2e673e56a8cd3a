"""The whole program under mocks: a stack's outputs, and that the operator's verbs can use them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from components.settings import SettingsError
from ops.errors import LastcopyError
from ops.kit.kit import make_kit as kit_of
from ops.storage.access import StorageKey, read_access
from tests.unit import stacks
from tests.unit.recording import Secret
from tests.unit.stacks import (
    OWN,
    REMOTE,
    Shape,
    bare,
    each_shape,
    graph_of,
    opened,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@each_shape
def test_the_exports_are_complete(shape: Shape) -> None:
    exports = graph_of(shape).exports
    assert set(exports["sources"]) == set(exports["passwords"]) == set(shape.sources)
    assert set(exports["enrolmentScripts"]) == set(shape.unmanaged)
    assert all(isinstance(value, Secret) for value in exports["passwords"].values())
    assert all(isinstance(value, Secret) for value in exports["enrolmentScripts"].values())
    assert {name for name in shape.sources if exports["sources"][name]["managed"]} == set(shape.managed)
    assert not any(isinstance(value, Secret) for value in exports["sources"].values()), "ops reads these"
    assert ("bucket" in exports["vault"]) == (shape is not REMOTE)


@each_shape
def test_the_outputs_say_where_each_host_is_reached(shape: Shape) -> None:
    """So that no verb needs to read the stack file for that."""
    graph = graph_of(shape)
    steps = {"relay": "relay-sshd-config-command"}
    steps |= {name: f"{name}-schedule-units-command" for name in shape.managed}
    for name, step in steps.items():
        told = graph.exports["relay"] if name == "relay" else graph.exports["sources"][name]
        dialled = opened(graph.named(step).inputs["connection"])
        assert {key: told[key] for key in ("port", "user", "hostKey")} == {
            key: dialled[key] for key in ("port", "user", "hostKey")
        }, name
        assert told["address"] == dialled["host"]
        jump = dialled.get("proxy")
        assert (told.get("jumpHost") is None) == (jump is None) == (shape is not REMOTE)
        if jump is not None:
            keys = {"address": "host", "port": "port", "user": "user", "hostKey": "hostKey"}
            assert told["jumpHost"] == {key: jump[name] for key, name in keys.items()}
    for name in shape.unmanaged:
        told = graph.exports["sources"][name]
        assert {told[key] for key in ("address", "port", "user", "hostKey", "jumpHost")} == {None}


@each_shape
def test_recovery_works_with_the_exports(shape: Shape) -> None:
    """`lastcopy recover` and the kit read what the program exports, whatever its form."""
    exports = {name: bare(value) for name, value in graph_of(shape).exports.items()}
    if shape is REMOTE:
        with pytest.raises(LastcopyError, match="without versions"):
            kit_of("prod", exports, {}, NOON, key=None)
        return
    kit = kit_of("prod", exports, {"restic": "0.19.1"}, NOON, key=None)
    assert [source.name for source in kit.sources] == sorted(shape.sources)
    assert {source.name for source in kit.sources if source.host_key} == set(shape.managed)
    key = StorageKey.read({"accessKeyId": "EXAMPLE", "secretAccessKey": "0123456789"}, "test")
    for name in shape.sources:
        of_kit, of_stack = kit.access(name, key), read_access(exports, name, key)
        assert (of_kit.where, of_kit.path, of_kit.password) == (
            of_stack.where,
            of_stack.path,
            of_stack.password,
        )
        told = exports["sources"][name]
        assert (of_stack.record.silent_after_hours, of_stack.record.shrink_percent) == (
            told["silentAfterHours"],
            told["shrinkPercent"],
        )


def test_a_vault_without_object_lock_causes_a_clear_warning(caplog: pytest.LogCaptureFixture) -> None:
    stacks.run(REMOTE.config())
    assert [one.levelname for one in caplog.records if "NO OBJECT LOCK" in one.message] == ["WARNING"]


def test_invalid_settings_register_nothing() -> None:
    with pytest.raises(SettingsError, match=r"1 problem in stacks/Pulumi\.unit\.yaml; nothing was changed"):
        graph_of(OWN, "{protect: maybe}")
