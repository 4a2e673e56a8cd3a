"""`lastcopy test-packages`: what the tests need from Debian besides the local stack's own needs. Says what it installs and sets."""

from __future__ import annotations

from ops import packages
from ops.errors import LastcopyError
from sandbox.errors import SandboxError


def install_for_tests() -> None:
    """Install what the tests need from Debian and this machine lacks; services of it do not start."""
    try:
        packages.install_for_tests()
    except SandboxError as error:
        raise LastcopyError(str(error)) from None
