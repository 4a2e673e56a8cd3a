"""Finds an allowed version of a tool that the user already has: on PATH, or among the Pulumi engine's plugins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .cache import Tool, home
from .errors import Closed
from .pins import Pin, Pins

# The private folder of engine_environment: a tool there is ours, not the user's.
PRIVATE_MARK = ".made-by-lastcopy"
ASK_SECONDS = 20


def on_path(pins: Pins, pin: Pin, environ: Mapping[str, str]) -> Tool:
    """Return the first allowed version on PATH. Versions that are not allowed are skipped and named in the reason."""
    if pin.beside:
        engine = on_path(pins, pins.tools[pin.beside], environ)
        program = engine.path.resolve().parent / pin.name
        if not os.access(program, os.X_OK):
            raise Closed(f"not beside {engine.path}")
        return Tool(pin.name, engine.version, program, "PATH")
    passed_over = []
    for program in _programs(pin.name, environ):
        version, fits = _ask(pin, program, environ)
        if fits:
            return Tool(pin.name, version, program, "PATH")
        why = f": {pin.why}" if pin.why else ""
        passed_over.append(f"{program} is {version}; it must be {pin.fitting}{why}")
    raise Closed("; ".join(passed_over) or "not found")


def in_pulumi_home(pin: Pin, environ: Mapping[str, str]) -> Tool:
    """Return the official plugin from the folder of the user's own engine."""
    folder = (
        Path(environ.get("PULUMI_HOME") or home(environ) / ".pulumi")
        / "plugins"
        / f"resource-{pin.plugin}-v{pin.version}"
    )
    program = folder / pin.name
    # .partial beside the folder is the engine's mark of an incomplete download; links are our own layout
    if not os.access(program, os.X_OK) or Path(f"{folder}.partial").exists() or program.is_symlink():
        raise Closed(f"not in {folder}")
    return Tool(pin.name, pin.version, program, "pulumi plugins")


def clean_path(environ: Mapping[str, str]) -> list[Path]:
    """PATH without relative entries, which depend on the working directory, and without our private folder."""
    folders = [Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry.startswith("/")]
    return [folder for folder in dict.fromkeys(folders) if not (folder / PRIVATE_MARK).exists()]


def _programs(name: str, environ: Mapping[str, str]) -> list[Path]:
    candidates = [folder / name for folder in clean_path(environ)]
    return [program for program in candidates if program.is_file() and os.access(program, os.X_OK)]


def _ask(pin: Pin, program: Path, environ: Mapping[str, str]) -> tuple[str, bool]:
    folder = program.resolve().parent.name
    if pin.plugin and folder.startswith(f"resource-{pin.plugin}-v"):
        return pin.reads(folder)  # the folder's name contains the version
    try:
        answer = subprocess.run(
            [program, pin.ask],
            env={**environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not usable ({error})", False
    return pin.reads(answer.stdout)
