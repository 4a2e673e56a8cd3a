"""Private keys in files: unusable ones are reported in the preview, not in the middle of a run."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from components.settings.ec2 import Ec2Vm
from components.settings.hosts import ExistingHost, ManagedHost
from components.settings.jump import JumpHost
from components.settings.model import run_until_unknown
from components.settings.problems import Finding, Fix, Loc
from components.settings.ssh_keys import (
    PRIVATE_KEY_ALLOWED,
    find_private_key_problems,
    read_key_data,
    read_public_half,
)
from components.settings.stack import Settings


def refuse_useless_key_files(stack: Settings) -> Iterator[Finding]:
    """Every named file contains an unencrypted private key that only its owner can read."""
    for loc, path in _list_key_files(stack):
        for what in _find_file_problems(Path(path)):
            fix = Fix(say="repair the file, or name another one:")
            yield Finding(loc, what, f"{PRIVATE_KEY_ALLOWED}; readable by its owner only (0600)", fix)


def _list_key_files(stack: Settings) -> Iterator[tuple[Loc, str]]:
    yield from run_until_unknown(_of_admin(stack))
    yield from run_until_unknown(_of_admins_jump_host(stack))
    yield from run_until_unknown(_of_relay(stack))
    for loc, host in run_until_unknown(stack.managed_hosts()):
        yield from run_until_unknown(_of_host(loc, host))
        yield from run_until_unknown(_of_jump_host(loc, host))


def _of_admin(stack: Settings) -> Iterator[tuple[Loc, str]]:
    if stack.admin.private_key_file is not None:
        yield ("admin", "privateKeyFile"), stack.admin.private_key_file


def _of_admins_jump_host(stack: Settings) -> Iterator[tuple[Loc, str]]:
    jump = stack.admin.jump_host
    if jump is not None and jump.private_key_file is not None:
        yield ("admin", "jumpHost", "privateKeyFile"), jump.private_key_file


def _of_relay(stack: Settings) -> Iterator[tuple[Loc, str]]:
    if isinstance(stack.intermediate, ExistingHost):
        yield from _of_jump_host(("intermediate", "existing"), stack.intermediate)


def _of_host(loc: Loc, host: ManagedHost) -> Iterator[tuple[Loc, str]]:
    if host.private_key_file is not None:
        yield (*loc, "privateKeyFile"), host.private_key_file


def _of_jump_host(loc: Loc, host: ExistingHost | ManagedHost) -> Iterator[tuple[Loc, str]]:
    jump = host.jump_host
    if isinstance(jump, JumpHost) and jump.private_key_file is not None:
        yield (*loc, "jumpHost", "privateKeyFile"), jump.private_key_file


def _find_file_problems(path: Path) -> Iterator[str]:
    try:
        path = path.expanduser()
        mode = path.stat().st_mode
        text = path.read_text(errors="replace") if stat.S_ISREG(mode) else None
    except FileNotFoundError:
        yield "there is no such file"
        return
    except (OSError, RuntimeError) as error:
        yield f"the file cannot be read ({type(error).__name__})"
        return
    if text is None:
        yield "is not a file"
        return
    if mode & 0o077:
        yield "the file can be read by others than its owner"
    for what in find_private_key_problems(text):
        yield f"the file {what}"


def refuse_other_admin_key(stack: Settings) -> Iterator[Finding]:
    """The key of a machine's first boot is the engine's key: otherwise nobody could log in to the new machine."""
    relay, admin = stack.intermediate, stack.admin
    if not isinstance(relay, Ec2Vm):
        return
    text = "" if admin.private_key is None else admin.private_key.get_secret_value()
    if admin.private_key_file is not None:
        try:
            text = Path(admin.private_key_file).expanduser().read_text(errors="replace")
        except (OSError, RuntimeError):
            return  # `refuse_useless_key_files` reports the reason
    half = read_public_half(text)
    if half is not None and half != read_key_data(relay.admin_public_key):
        what = "is not the public half of lastcopy:admin's key: nobody could log in to the machine"
        fix = Fix(say="its public half, if the private one is right:", value=f"ssh-ed25519 {half}")
        yield Finding(("intermediate", "ec2", "adminPublicKey"), what, "the key's own .pub file", fix)
