"""What Ec2Relay relies on: steps follow the machine, and the step whose connection works only once runs once per machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.aws.first_host_key import first_key
from toolchain.checkout import ROOT

from .sshd import Sshd
from .stack import Stack
from .test_remote_command import lines

# As HostStep makes them: `first` is `once`, `later` can be undone. The machine is any resource with an id.
PROGRAM = """
import pulumi_random as random
from components.host.host_step import _ONCE

machine = random.RandomId(f"machine-{given.get('generation', 1)}", byte_length=4, keepers={"image": given.get("image", "a")})

def of_machine(**more):
    return pulumi.ResourceOptions(deleted_with=machine, **more)

first = step("first", connection(host_key=given.get("born", given["host_key"])), triggers=[machine.id],
             stdin=given.get("script", "one"), create=f"echo first $(cat) >> {there}/ran",
             opts=of_machine(ignore_changes=list(_ONCE)))
step("later", triggers=[machine.id], create=f"echo later >> {there}/ran", delete=f"echo undone >> {there}/ran",
     opts=of_machine(depends_on=[first]))
"""


@pytest.fixture
def ran(stack: Stack, there: Path) -> Callable[..., list[str]]:
    """Run `up` with these values; returns what ran on the machine."""
    stack.environ["PYTHONPATH"] = str(ROOT)

    def run(**given: object) -> list[str]:
        stack.up(PROGRAM, given)
        return lines(there / "ran")

    assert run() == ["first one", "later"]
    return run


DEAD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"


def test_the_first_connection_is_not_repeated_when_its_script_or_its_pin_changes(
    stack: Stack, ran: Callable[..., list[str]]
) -> None:
    assert ran(script="two", born=DEAD) == [], "no connection with the dead key"
    stack.unchanged()


@pytest.mark.parametrize(
    "change", [{"generation": 2}, {"image": "b"}], ids=["another name", "replaced in place"]
)
def test_on_another_machine_every_step_runs_again_and_none_is_undone(
    stack: Stack,
    ran: Callable[..., list[str]],
    new_sshd: Callable[..., Sshd],
    change: dict[str, object],
) -> None:
    """Its values are the new ones, although changes of them are ignored. Nothing connects to the old machine, which still answers here."""
    other = new_sshd()
    other.start()
    stack.given |= {"port": other.port, "host_key": other.host_key}
    assert ran(script="two", **change) == ["first two", "later"], "no step was undone on the new machine"
    stack.unchanged()


@pytest.mark.usefixtures("ran")
def test_destroy_does_not_connect_to_a_machine_that_is_deleted_with_it(stack: Stack, there: Path) -> None:
    stack.pulumi("destroy", "--yes")
    assert lines(there / "ran") == []


def test_the_pinned_key_decides_which_host_key_of_a_machine_is_requested(
    stack: Stack, new_sshd: Callable[..., Sshd], there: Path
) -> None:
    """The handover of the host key needs it: sshd offers both keys for a while, and each pin must work."""
    both = new_sshd()
    born = first_key("the-seed-of-a-machine-in-these-tests")
    path = both.folder / "born"
    path.touch(mode=0o600)
    path.write_text(born.private)
    text = (both.folder / "conf").read_text().replace("HostKeyAlgorithms ssh-ed25519\n", "")
    (both.folder / "conf").write_text(f"{text}HostKey {path}\n")
    both.start()
    stack.given["port"] = both.port
    program = """
    step("born", connection(host_key=given["born"]), create=f"echo born >> {there}/ran")
    step("own", connection(host_key=given["own"]), create=f"echo own >> {there}/ran")
    """
    stack.up(program, {"born": born.public, "own": both.host_key})
    assert sorted(lines(there / "ran")) == ["born", "own"]


def test_sabotage_without_these_options_a_dead_key_is_used_and_a_live_machine_is_undone(
    stack: Stack, new_sshd: Callable[..., Sshd], there: Path
) -> None:
    stack.environ["PYTHONPATH"] = str(ROOT)
    careless = PROGRAM.replace("ignore_changes=list(_ONCE)", "").replace("deleted_with=machine, ", "")
    stack.up(careless)
    assert "host key mismatch" in stack.fails(careless, {"born": DEAD})
    assert lines(there / "ran") == ["first one", "later"]
    other = new_sshd()
    other.start()
    stack.given |= {"port": other.port, "host_key": other.host_key}
    stack.up(careless, {"generation": 2})
    assert lines(there / "ran") == ["first one", "later", "undone"]
