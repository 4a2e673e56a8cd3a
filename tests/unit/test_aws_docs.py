"""docs/aws.md: every block, row and command is executed by an existing test, or excused with a reason."""

from __future__ import annotations

import ast

import pytest

from tests.aws.document import (
    ADVICE_RUN_BY,
    AWS,
    DAY_2,
    ROW_RUN_BY,
    ROWS_NOT_RUN,
    RUN_BY,
    TUNNEL,
    rows,
    shell_blocks,
    unnamed,
)
from toolchain.checkout import ROOT

PLANTED = {
    "a block": ("## 5. Set it up, back up, restore\n", "```sh\npulumi refresh\n```\n"),
    "a chapter": ("## Day 2\n", "## Day 1\n\n```sh\npulumi refresh\n```\n"),
    "a row": ("| see why a call was refused |", "| move to another region | `pulumi up` |\n"),
    "an advice": ("| `AddressLimitExceeded` (AWS) |", "| `X` (AWS) | y | `aws ec2 release-address` |\n"),
    "a block in short": ("The estimate for 500 GiB at first", "```sh\npulumi refresh\n```\n"),
}


def test_everything_is_executed_or_excused() -> None:
    assert unnamed((ROOT / AWS).read_text()) == []


@pytest.mark.parametrize("what", PLANTED)
def test_a_part_that_nobody_executes_is_noticed(what: str) -> None:
    place, text = PLANTED[what]
    before, found, after = (ROOT / AWS).read_text().partition(place)
    assert found
    planted = (
        f"{before}{text}{found}{after}"
        if place.startswith(("| ", "The", "## Day"))
        else f"{before}{found}{text}{after}"
    )
    assert len(unnamed(planted)) == 1


def test_the_register_names_only_existing_parts() -> None:
    """No block, row or test that has gone."""
    assert set(shell_blocks((ROOT / AWS).read_text())) == {*RUN_BY, TUNNEL}
    assert {*ROW_RUN_BY, *ROWS_NOT_RUN} == rows((ROOT / AWS).read_text(), DAY_2).keys() - {"to"}
    for named in {*RUN_BY.values(), *ROW_RUN_BY.values(), ADVICE_RUN_BY}:
        file, test = named.split("::")
        module = ast.parse((ROOT / file).read_text())
        assert test in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}, named
