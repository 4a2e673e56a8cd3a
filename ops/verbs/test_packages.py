"""`lastcopy test-packages`: what the tests need from Debian besides the local stack's own needs. Says what it installs and sets."""

from __future__ import annotations

from ops import packages
from ops.command_line.output import JsonOption, print_json


def install_for_tests(as_json: JsonOption = False) -> None:
    """Install what the tests need from Debian and this machine lacks; services of it do not start."""
    installed = packages.install_for_tests()
    if as_json:
        print_json({"installed": installed})
