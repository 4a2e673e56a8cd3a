"""A stack whose steps still contain their whole text is upgraded by an ordinary `pulumi up`: nothing is replaced, deleted or lost (A7).

Its state has no sender of programs, and a whole script in every step, including its `delete`. The old program is this program without
the stores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from components.host.program_texts import STORE
from tests.integration.checkout import Running, make_local_stack

SENDERS = {"relay-programs", "db1-programs"}
MOST = 78_000  # bytes, measured: 75,700; more than with hosts of one's own: triggers, the machine in every command, a certificate


def without_stores(main: str) -> str:
    """Make the program behave as it did before hosts kept their programs."""
    old, count = re.subn(r"programs\.send_to\(([\w.]+), \w+\)", r"\1", main)
    assert count == 2
    return old.replace('programs = Programs("programs")\n', "").replace(
        "from components.host.programs import RELAY_AREAS, SOURCE_AREAS, Programs\n", ""
    )


@pytest.fixture(scope="module")
def made_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One source on a stack of the old program, with a backup."""
    root = tmp_path_factory.mktemp("checkout")

    def one_source(config: dict[str, Any]) -> None:
        config["lastcopy:sources"] = [one for one in config["lastcopy:sources"] if one["name"] == "db1"]

    stack = make_local_stack(root, "upgrade", one_source)
    main = root / "__main__.py"
    new = main.read_text()
    try:
        main.write_text(without_stores(new))
        stack.up()
        main.write_text(new)
        stack.machines.shell(
            "db1", "mkdir -p /srv && echo before >/srv/file && systemctl start lastcopy-backup.service"
        )
        yield stack
    finally:
        stack.close()


def size_of(running: Running, names: str) -> int:
    """The size of these resources in the state, in bytes."""
    return sum(len(json.dumps(one)) for name, one in running.resources().items() if name.startswith(names))


def test_steps_are_updated_in_place_and_nothing_is_lost(made_before: Running) -> None:
    old, was = made_before.resources(), size_of(made_before, "db1")
    assert not SENDERS & old.keys(), "the state is that of the old program"
    changes = made_before.changes()
    assert {change.name for change in changes if change.op == "create"} == {"programs", *SENDERS}
    assert {change.op for change in changes} == {"create", "update"}
    made_before.up()
    made_before.preview("--expect-no-changes")
    new = made_before.resources()
    assert {name: new[name]["urn"] for name in old} == {name: one["urn"] for name, one in old.items()}
    commands = [name for name, one in old.items() if one["type"] == "command:remote:Command"]
    assert commands
    assert {name: new[name]["id"] for name in commands} == {name: old[name]["id"] for name in commands}
    assert len(made_before.machines.run("db1", "ls", STORE).stdout.split()) > 4
    restored = made_before.machines.run("db1", "restic-backup", "dump", "latest", "/srv/file")
    assert restored.stdout == "before\n"
    is_now = size_of(made_before, "db1")
    assert is_now < min(was / 4, MOST), f"{was} bytes before, {is_now} now"
    positioned = {one["type"] for one in new.values() if {"stackTrace", "sourcePosition"} & one.keys()}
    assert positioned == {"pulumi:pulumi:Stack"}, "the SDK makes the stack itself before the program begins"


def test_a_changed_program_on_a_host_is_not_run_and_the_command_in_the_error_repairs_it(
    made_before: Running,
) -> None:
    def change(delay: str) -> None:
        made_before.configure(lambda config: config["lastcopy:sources"][0].update(randomizedDelay=delay))

    change("7m")
    made_before.machines.shell("db1", f"for f in {STORE}/????*; do echo 'touch /root/owned' >>$f; done")
    refused = made_before.up(check=False)
    assert refused.returncode != 0
    assert "is not the program that was sent" in refused.stdout
    [urn] = set(re.findall(r"pulumi up --replace '(urn:[^']*)'", refused.stdout))
    assert urn.endswith("::db1-programs")
    assert made_before.machines.run("db1", "test", "-e", "/root/owned", check=False).returncode == 1
    made_before.up("--replace", urn)
    made_before.preview("--expect-no-changes")
    timer = made_before.machines.run("db1", "systemctl", "cat", "lastcopy-backup.timer").stdout
    assert "RandomizedDelaySec=7m" in timer
    assert made_before.machines.run("db1", "ls", STORE).stdout, (
        "the removal of the old sending kept the new one"
    )


def test_a_state_with_old_and_new_steps_can_be_destroyed(made_before: Running) -> None:
    """Halfway back: the source's steps contain their whole text again, the relay's name their programs. The source's store is gone."""
    main = made_before.root / "__main__.py"
    text = main.read_text()
    old = re.sub(r"programs\.send_to\((host), SOURCE_AREAS\)", r"\1", text)
    assert old != text
    main.write_text(old)
    made_before.up()
    assert made_before.machines.run("db1", "test", "-e", STORE, check=False).returncode == 1, (
        "it was removed with its host"
    )
    made_before.stack.run("destroy", "--stack", made_before.stack.name, "--yes", "--skip-preview", quiet=True)
    assert not made_before.resources()
