"""One source's components: names, secrecy, protection, order; and that no source touches another."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.host.connection import Host
from components.host.host_step import HostStepArgs
from components.relay.service.rclone_remote import RcloneRemote, RcloneRemoteArgs
from components.settings import Source
from components.source.enrolment.source_enrolment import RelayEndpoint
from components.source.protected_source import ProtectedSource, ProtectedSourceArgs
from components.source.repository import restic_repository
from components.vault.vault_access import RcloneVault
from tests.unit.recording import SAMPLE_KEY, Graph, Recorded, Secret, record, shared
from tests.unit.stacks import before

PASSWORD = "a-password-from-the-stack"


def source(name: str = "web1", **changes: Any) -> Source:
    where = {} if "publicKey" in changes else {"sandbox": {}}
    return Source.model_validate({"name": name, "paths": ["/srv"], **where, **changes})


def host(name: str) -> Host:
    return Host(
        name=name, address="198.51.100.20", host_key=SAMPLE_KEY, user="admin", private_key="PRIVATE-KEY"
    )


@shared
def graph_of(
    *sources: Source, protect: bool = False, outputs: dict[str, Any] | None = None, zone: str = "UTC"
) -> Graph:
    def program() -> None:
        vault = RcloneVault(section=pulumi.Output.secret("type = local\n"), path="backups", egress=())
        relay = RcloneRemote("relay", RcloneRemoteArgs(host=host("relay"), vault=vault))
        for one in sources:
            managed = not hasattr(one.host, "public_key")
            record = ProtectedSource(
                one.name,
                ProtectedSourceArgs(
                    source=one,
                    host=host(one.name) if managed else None,
                    relay=relay,
                    relay_endpoint=RelayEndpoint(address="198.51.100.10", port=22, host_key=SAMPLE_KEY),
                    protect=protect,
                ),
            )
            if outputs is not None:
                for name in (
                    "public_key",
                    "password",
                    "repository_id",
                    "key_id",
                    "summary",
                    "enrolment_script",
                ):
                    value = getattr(record, name)
                    if value is not None:
                        _keep(outputs, name, value)

    return record(program, facts={"account": "bk-web1", "zone": zone})


def _keep(outputs: dict[str, Any], name: str, value: pulumi.Output[Any]) -> None:
    def keep(both: list[Any]) -> None:
        outputs[name] = Secret(both[0]) if both[1] else both[0]

    pulumi.Output.all(value, value.is_secret()).apply(keep)


def of_source(graph: Graph, name: str) -> dict[str, Recorded]:
    return {one.name: one for one in graph if one.name == name or one.name.startswith(f"{name}-")}


def test_a_managed_source_has_all_its_children() -> None:
    shape = {
        (one.type.rsplit(":", 1)[-1], one.name, one.parent)
        for one in of_source(graph_of(source()), "web1").values()
    }
    for expected in (
        ("ProtectedSource", "web1", "lastcopy-local"),
        ("HostTool", "web1-restic", "web1"),
        ("SourceEnrolment", "web1-enrolment", "web1"),
        ("HostStep", "web1-enrolment-key", "web1-enrolment"),
        ("HostStep", "web1-enrolment-client", "web1-enrolment"),
        ("RelayEntry", "web1-enrolment-entry", "web1-enrolment"),
        ("ResticRepository", "web1-repository", "web1"),
        ("HostStep", "web1-repository-init", "web1-repository"),
        ("BackupSchedule", "web1-schedule", "web1"),
        ("HostStep", "web1-schedule-units", "web1-schedule"),
    ):
        kind, name, parent = expected
        assert (kind, name) in {(found[0], found[1]) for found in shape}
        if parent != "lastcopy-local":
            assert expected in shape


def test_the_order_is_key_entry_repository_schedule() -> None:
    graph = graph_of(source())
    entry = before(graph, "web1-repository-init-command")
    assert {"web1-enrolment-key-command", "web1-enrolment-client-command"} <= entry
    assert any(name.startswith("web1-enrolment-entry") for name in entry)
    assert any(name.startswith("web1-restic") for name in entry)
    assert "web1-repository-init-command" in before(graph, "web1-schedule-units-command")


def test_the_password_is_made_once_protected_if_requested_and_never_replaced() -> None:
    made = graph_of(source(), protect=True).named("web1-repository-password")
    assert made.protect
    assert (made.inputs["length"], made.inputs["special"]) == (32, False)
    assert {"length", "special"} <= set(made.ignore_changes)
    assert not graph_of(source(), protect=False).named("web1-repository-password").protect


def test_a_given_password_is_used_and_none_is_made() -> None:
    outputs: dict[str, Any] = {}
    graph = graph_of.__wrapped__(source(password=PASSWORD), outputs=outputs)
    assert [one for one in graph if one.name == "web1-repository-password"] == []
    assert outputs["password"] == Secret(PASSWORD)


def test_only_one_step_has_the_password_and_on_stdin() -> None:
    assert_password_on_stdin_of_one_step(graph_of(source(password=PASSWORD)))


def assert_password_on_stdin_of_one_step(graph: Graph) -> None:
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    holders = [one.name for one in graph if PASSWORD in repr(one.inputs) or encoded in repr(one.inputs)]
    assert holders == ["web1-repository-init-command"]
    stdin = graph.named(holders[0]).inputs["stdin"]
    assert isinstance(stdin, Secret)
    assert encoded in stdin.value
    assert encoded not in repr({**graph.named(holders[0]).inputs, "stdin": ""})


def test_sabotage_a_password_among_the_public_values_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = restic_repository.HostStep

    def careless(name: str, args: HostStepArgs, opts: Any) -> Any:
        return real(name, replace(args, values={**args.values, **args.secrets}, secrets={}), opts)

    monkeypatch.setattr(restic_repository, "HostStep", careless)
    graph = graph_of.__wrapped__(source(password=PASSWORD))
    with pytest.raises(AssertionError):
        assert_password_on_stdin_of_one_step(graph)


def test_outputs_are_secret_if_necessary_and_otherwise_public() -> None:
    outputs: dict[str, Any] = {}
    graph_of.__wrapped__(source(), outputs=outputs)
    assert isinstance(outputs["password"], Secret)
    assert outputs["public_key"] == SAMPLE_KEY
    assert outputs["summary"]["repositoryId"] == "ab" * 32
    assert "generated-for" not in repr(outputs["summary"])


def test_only_removable_things_are_undone() -> None:
    graph = graph_of(source())
    undone = {one.name for one in graph if one.type == "command:remote:Command" and "delete" in one.inputs}
    assert {"web1-enrolment-client-command", "web1-schedule-units-command"} <= undone
    assert not {"web1-enrolment-key-command", "web1-repository-init-command"} & undone


def touched(before: Graph, after: Graph) -> set[str]:
    """Resources that an update from one program to the other would create, change or delete."""
    old, new = ({one.name: one.inputs for one in graph} for graph in (before, after))
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def test_adding_and_removing_a_source_touches_no_other() -> None:
    one, two = graph_of(source("web1")), graph_of(source("web1"), source("db1"))
    assert {name.split("-")[0] for name in touched(one, two)} == {"db1"}


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"schedule": "hourly"}, {"web1-schedule", "web1-schedule-units", "web1-schedule-units-command"}),
        ({"paths": ["/srv", "/etc"]}, {"web1-schedule-units", "web1-schedule-units-command"}),
        ({"exclude": ["*.tmp"]}, {"web1-schedule-units", "web1-schedule-units-command"}),
        ({"restic": {"packSizeMiB": 32}}, {"web1-enrolment-client", "web1-enrolment-client-command"}),
        ({"restic": {"readConcurrency": 4}}, {"web1-schedule-units", "web1-schedule-units-command"}),
        ({"password": PASSWORD}, {"web1-repository-password", "web1-repository-init-command"}),
    ],
    ids=["schedule", "paths", "exclude", "pack-size", "read-concurrency", "password"],
)
def test_a_change_touches_only_its_own_step(changes: dict[str, Any], steps: set[str]) -> None:
    found = touched(graph_of(source(), source("db1")), graph_of(source(**changes), source("db1")))
    assert found == steps


def test_a_new_generation_touches_entry_and_repository_and_keeps_the_password() -> None:
    found = touched(graph_of(source(), source("db1")), graph_of(source(generation=2), source("db1")))
    steps = {name for name in found if name.endswith("-command")}
    assert steps == {"web1-enrolment-entry-account-command", "web1-repository-init-command"}
    assert "web1-repository-password" not in found


def test_a_reviewer_sees_the_lines_that_will_change() -> None:
    values = graph_of(source(schedule="hourly")).named("web1-schedule-units").inputs["values"]
    assert "OnCalendar=hourly\n" in values["TIMER"]
    assert values["PATHS"] == "/srv\n/var/lib/lastcopy/canary\n"


# Sources that the admin cannot reach


def test_an_unmanaged_source_gets_its_entry_and_a_secret_script() -> None:
    outputs: dict[str, Any] = {}
    graph = graph_of.__wrapped__(source(publicKey=SAMPLE_KEY), outputs=outputs)
    names = set(of_source(graph, "web1"))
    assert {"web1-enrolment-entry", "web1-repository-password"} <= names
    assert not [
        name for name in names if name.startswith(("web1-schedule", "web1-restic", "web1-repository-init"))
    ]
    script = outputs["enrolment_script"]
    assert isinstance(script, Secret)
    made = base64.b64encode("generated-for-web1-repository-password".ljust(32, "x").encode()).decode()
    assert made in script.value
    assert outputs["summary"]["managed"] is False


def test_the_relay_entry_gets_the_key_from_the_stack() -> None:
    graph = graph_of(source(publicKey=SAMPLE_KEY))
    entry = [one for one in graph if one.name.startswith("web1-enrolment-entry") and "values" in one.inputs]
    assert SAMPLE_KEY in repr([one.inputs["values"] for one in entry])


def test_two_sources_have_different_passwords() -> None:
    graph = graph_of(source("web1"), source("db1"))
    assert len([one for one in graph if one.type == "random:index/randomPassword:RandomPassword"]) == 2


@pytest.mark.parametrize(
    ("schedule", "zone", "told"),
    [
        ("*-*-* 02:00:00", "Europe/Berlin", 1),
        ("*-*-* 02:00:00", "Etc/UTC", 0),
        ("*-*-* 04:00:00", "Europe/Berlin", 0),
        ("*-*-* 02:00:00", "Europe/Berlin; lies", 0),
        ("*-*-* 02:00:00 UTC", "Europe/Berlin", 0),
    ],
)
def test_a_night_without_a_backup_in_the_hosts_own_zone_causes_a_warning(
    schedule: str, zone: str, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    graph_of.__wrapped__(source(schedule=schedule), zone=zone)
    assert [one for one in warnings if "NO BACKUP of web1" in one and "Europe/Berlin" in one] == warnings
    assert len(warnings) == told
