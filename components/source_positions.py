"""Keeps the place in the program where each resource is made out of the state."""

from __future__ import annotations

from pulumi.runtime import resource
from pulumi.runtime.proto.source_pb2 import StackTrace


def omit_source_positions() -> None:
    """Make sure that resources created from now on do not carry their call stacks.

    The SDK sends 16 lines of paths with every resource and has no option to prevent that: a kilobyte of state each, with folders of the workstation,
    and the state would change whenever a line of the program moves.
    """
    resource._get_stack_trace = StackTrace
