"""`lastcopy test-packages`: the Debian packages that the tests need in addition to those of the local stack. Prints what it installs and sets."""

from __future__ import annotations

from ops import packages
from ops.command_line.output import JsonOption, print_json


def install_for_tests(as_json: JsonOption = False) -> None:
    """Install the Debian packages that the tests need and this machine lacks.

    Their services are not started.
    """
    installed = packages.install_for_tests()
    if as_json:
        print_json({"installed": installed})
