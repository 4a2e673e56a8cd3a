"""Keeps out of the state where in the program each resource is made."""

from __future__ import annotations

from pulumi.runtime import resource
from pulumi.runtime.proto.source_pb2 import StackTrace


def omit_source_positions() -> None:
    """No resource that is made from now on carries its call stack.

    The SDK sends 16 lines of paths with every resource and has no option for it: a kilobyte of state each, with folders of the workstation,
    and another state to write whenever a line of the program moves.
    """
    resource._get_stack_trace = StackTrace
