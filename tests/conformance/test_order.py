"""`depends_on` of components: creation and deletion keep the order of everything inside them. tests/unit/stacks.py relies on it."""

from __future__ import annotations

from pathlib import Path

from .stack import Stack
from .test_remote_command import lines

PROGRAM = """
class Group(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("test:index:Group", name, {}, opts)
        inner = Inner(f"{name}-inner", pulumi.ResourceOptions(parent=self))
        said(f"{name}-last", pulumi.ResourceOptions(parent=self, depends_on=[inner]))

class Inner(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("test:index:Inner", name, {}, opts)
        said(name + "-child", pulumi.ResourceOptions(parent=self))

def said(name, opts):
    # Slow enough that what does not wait comes earlier.
    wait = "sleep 0.3;" if name.startswith("first") else ""
    local.Command(name, create=f"{wait} echo {name} >> {there}/ran", delete=f"{wait} echo {name} >> {there}/ran", opts=opts)

first = Group("first")
Group("second", pulumi.ResourceOptions(depends_on=[first] if given.get("order", True) else []))
"""
FIRST, SECOND = ["first-inner-child", "first-last"], ["second-inner-child", "second-last"]


def test_children_wait_for_what_their_component_depends_on(stack: Stack, there: Path) -> None:
    stack.up(PROGRAM)
    assert lines(there / "ran") == FIRST + SECOND
    stack.unchanged()
    stack.pulumi("destroy", "--yes")
    assert lines(there / "ran") == [*reversed(SECOND), *reversed(FIRST)]


def test_a_removed_component_is_deleted_in_that_order_as_well(stack: Stack, there: Path) -> None:
    stack.up(PROGRAM)
    lines(there / "ran")
    stack.up("pass")
    assert lines(there / "ran") == [*reversed(SECOND), *reversed(FIRST)]


def test_sabotage_without_depends_on_nothing_waits(stack: Stack, there: Path) -> None:
    stack.up(PROGRAM, {"order": False})
    assert lines(there / "ran") != FIRST + SECOND
