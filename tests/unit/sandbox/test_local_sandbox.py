"""LocalSandbox: created in a working order, removed completely, and no secret on a command line (A2, A7)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.sandbox import local_sandbox
from components.sandbox.local_sandbox import LocalSandbox, LocalSandboxArgs
from tests.unit import stacks
from tests.unit.recording import Graph, Recorded, Secret, record

LOCAL = "command:local:Command"


def sandbox(
    tmp_path: Path,
    machines: Sequence[str] = ("web1", "db1"),
    sources: Sequence[str] = ("web1", "db1", "cut1"),
) -> tuple[Graph, LocalSandbox]:
    key = tmp_path / "key"
    key.write_text("the admin's private key")
    made: list[LocalSandbox] = []

    def program() -> None:
        args = LocalSandboxArgs(
            directory=tmp_path / "with space; and $(more)",
            network="198.51.100.0/24",
            driver="auto",
            machines=tuple(machines),
            sources=tuple(sources),
            lock_mode="COMPLIANCE",
            lock_days=1,
        )
        made.append(LocalSandbox("sandbox", args))

    graph = record(program, admin_key_path=str(key))
    return graph, made[0]


def words(command: Recorded, verb: str = "create") -> list[str]:
    return shlex.split(command.inputs[verb])


def test_all_parts_are_registered(tmp_path: Path) -> None:
    graph, made = sandbox(tmp_path)
    found = {(one.type.rsplit(":", 1)[-1], one.name) for one in graph if one.parent == "sandbox"}
    assert found == {
        *(
            ("Command", f"sandbox-{role}")
            for role in ("network", "storage", "machine-relay", "machine-web1", "machine-db1")
        ),
        *(("Command", f"sandbox-identity-{source}") for source in ("web1", "db1", "cut1")),
        *(("RandomPassword", f"sandbox-secret-{source}") for source in ("web1", "db1", "cut1")),
    }
    assert set(made.hosts) == {"web1", "db1"}
    assert set(made.vault.identities) == {"web1", "db1", "cut1"}, "also for a source that is elsewhere"
    assert made.vault.shared_identity is None


def test_network_before_machines_and_storage_before_its_identities(tmp_path: Path) -> None:
    graph, _ = sandbox(tmp_path)
    commands = {one.name for one in graph.of_type(LOCAL)}
    for name in commands - {"sandbox-network"}:
        assert "sandbox-network" in stacks.before(graph, name)
    for source in ("web1", "db1", "cut1"):
        assert "sandbox-storage" in stacks.before(graph, f"sandbox-identity-{source}")
    # A destroy goes in the opposite order, so the network, whose removal removes what is left, comes last.
    assert not stacks.before(graph, "sandbox-network") & commands


def test_every_part_that_is_created_is_removed(tmp_path: Path) -> None:
    graph, _ = sandbox(tmp_path)
    for one in graph.of_type(LOCAL):
        up, down = words(one), words(one, "delete")
        assert up[:3] == down[:3] == [sys.executable, "-m", "sandbox"]
        assert down[3] == up[3].removesuffix("-up") + "-down"
        assert not one.retain_on_delete
        for flag in ("--name", "--source"):
            assert (flag in up) == (flag in down)
            assert flag not in up or up[up.index(flag) + 1] == down[down.index(flag) + 1]


def test_a_directorys_name_is_one_word(tmp_path: Path) -> None:
    graph, _ = sandbox(tmp_path)
    for one in graph.of_type(LOCAL):
        for verb in ("create", "delete"):
            line = words(one, verb)
            assert line[line.index("--dir") + 1] == f"{tmp_path}/with space; and $(more)"


def plain_identities(graph: Graph) -> list[str]:
    """Identities whose secret is not on stdin as a secret, or is on a command line."""
    return [
        one.name
        for one in graph.of_type(LOCAL)
        if one.name.startswith("sandbox-identity-")
        and (
            not isinstance(one.inputs["stdin"], Secret) or "generated-for" in repr(one.inputs | {"stdin": ""})
        )
    ]


def test_an_identitys_secret_is_on_stdin(tmp_path: Path) -> None:
    graph, _ = sandbox(tmp_path)
    assert plain_identities(graph) == []
    assert all("environment" not in one.inputs for one in graph.of_type(LOCAL))
    assert all(one.inputs["addPreviousOutputInEnv"] is False for one in graph.of_type(LOCAL))


def test_a_secret_on_the_command_line_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(source: str) -> str:
        return f"generated-for-sandbox-secret-{source}"

    monkeypatch.setattr(local_sandbox, "_access_key", careless)
    graph, _ = sandbox(tmp_path)
    assert len(plain_identities(graph)) == 3


def test_a_source_may_use_its_own_prefix(tmp_path: Path) -> None:
    graph, _ = sandbox(tmp_path)
    line = words(graph.named("sandbox-identity-web1"))
    assert line[line.index("--source") + 1] == "web1"
    assert line[line.index("--prefix") + 1] == "web1/"


@pytest.mark.parametrize(
    "sources", [("web", "web1"), ("a-name-of-23-letters-aa", "a-name-of-23-letters-ab"), ("a" * 18, "a" * 19)]
)
def test_no_two_sources_share_an_access_key(tmp_path: Path, sources: tuple[str, str]) -> None:
    graph, _ = sandbox(tmp_path, machines=(), sources=sources)
    lines = [words(graph.named(f"sandbox-identity-{source}")) for source in sources]
    keys = [line[line.index("--access-key") + 1] for line in lines]
    assert keys[0] != keys[1]
    assert all(3 <= len(key) <= 20 for key in keys)


def test_hosts_are_removed_with_their_machine(tmp_path: Path) -> None:
    _, made = sandbox(tmp_path)
    for host in (made.relay, *made.hosts.values()):
        assert [one._name for one in host.ready] == [f"sandbox-machine-{host.name}"]
        assert host.machine is host.ready[0]
