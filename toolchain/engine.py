"""The engine of this checkout. It has its own home folder, so that it neither uses nor hides the user's, and the local stack's state beside it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from toolchain.files import create_file

from .cache import Tool
from .find import PRIVATE_MARK, clean_path
from .toolchain import Toolchain

ENGINE, LANGUAGE = "pulumi", "pulumi-language-python"
# The caller's credentials and settings that would otherwise reach the program, rclone or the command plugin.
DROPPED = ("AWS_", "RCLONE_", "RESTIC_", "PULUMI_")
AGENT = "SSH_AUTH_SOCK"
USERS_OWN = (
    "PATH",
    "pulumi plugins",
)  # a tool with such an origin is found by the user's own `pulumi` as well
DROPPED_NAMES = (AGENT, "SSH_AGENT_PID")


def local_environment(toolchain: Toolchain, root: Path) -> dict[str, str]:
    """Return the whole environment for `pulumi` on the local stack of the checkout at `root`, with its own engine, state and passphrase."""
    laid = shell_additions(toolchain, root, always=True)
    local = root.resolve() / ".local"
    state = _private(local / "state")
    kept = {
        name: value
        for name, value in toolchain.environ.items()
        if not name.startswith(DROPPED) and name not in DROPPED_NAMES
    }
    return {
        **kept,
        **_live_agent(toolchain.environ),
        **laid,
        # No `.attrs` files beside the state: they are not written atomically, so a killed run could leave one that makes the stack unusable (A7).
        "PULUMI_BACKEND_URL": f"{state.as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase(local / "passphrase")),
    }


def shell_additions(toolchain: Toolchain, root: Path, *, always: bool = False) -> dict[str, str]:
    """Return the variables with which `pulumi` runs in the checkout at `root`, and put the engine and its plugins in place.

    They choose no backend, secrets provider, credentials or stack: those remain the shell's. Empty if the user's own engine has everything
    already, unless `always` is set.
    """
    plugins = {name: pin for name, pin in toolchain.pins.tools.items() if pin.plugin}
    tools = toolchain.ensure(ENGINE, LANGUAGE, *plugins)
    if not always and all(tool.origin in USERS_OWN for tool in tools.values()):
        return {}
    local = root.resolve() / ".local"
    private, home = local / "bin", _private(local / "pulumi")
    private.mkdir(exist_ok=True)
    (private / PRIVATE_MARK).touch()
    _lay_engine(tools[ENGINE], tools[LANGUAGE], private)
    for name, pin in plugins.items():
        folder = home / "plugins" / f"resource-{pin.plugin}-v{pin.version}"
        folder.mkdir(parents=True, exist_ok=True)
        _link(tools[name].path, folder / name)
    path = [private, Path(sys.executable).parent, *clean_path(toolchain.environ)]
    return {
        "PATH": os.pathsep.join(dict.fromkeys(map(str, path))),
        "PULUMI_HOME": str(home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # the engine finds plugins in PULUMI_HOME and beside itself, never on PATH
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
    }


def _private(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _live_agent(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's ssh agent, if it answers. With a dead socket, the command plugin would fail every step."""
    path = environ.get(AGENT, "")
    if not Path(path).is_absolute():
        return {}
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(1)
        try:
            agent.connect(path)
        except OSError:
            return {}
    return {AGENT: path}


def _lay_engine(engine: Tool, language: Tool, private: Path) -> None:
    _link(language.path, private / LANGUAGE)
    target = private / ENGINE
    if engine.path.resolve().parent == language.path.resolve().parent:
        _link(engine.path, target)
        return
    # The engine looks for its language host beside its own file and follows links, so that file must be here.
    source = engine.path.resolve()
    if target.exists() and not target.is_symlink():
        here, there = target.stat(), source.stat()
        if os.path.samestat(here, there) or (here.st_size, here.st_mtime) == (there.st_size, there.st_mtime):
            return
    new = _beside(target)
    try:
        os.link(source, new)
    except OSError:  # another file system, or not our file
        shutil.copy2(source, new)
    new.replace(target)


def _link(source: Path, target: Path) -> None:
    if target.is_symlink() and target.readlink() == source:
        return
    new = _beside(target)
    new.symlink_to(source)
    new.replace(target)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")


def _passphrase(path: Path) -> Path:
    """The file with the passphrase that encrypts this checkout's local state. It is created once and readable only by its owner."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another run has just created it
            create_file(path, secrets.token_urlsafe(32).encode())
    path.chmod(0o600)
    return path
