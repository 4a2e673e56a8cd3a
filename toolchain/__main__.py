"""python -m toolchain ensure [--tests] [NAME…] | list | path NAME | host NAME --architecture ARCH [--to DIR] | env [--local]"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from . import Toolchain, ToolError, engine

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Runs one verb; results go to standard output, all else to standard error."""
    parser = argparse.ArgumentParser(prog="python -m toolchain", description="Finds or gets pinned tools.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    wanted_tools = verbs.add_parser("ensure", help="get what is missing")
    wanted_tools.add_argument("names", nargs="*", metavar="NAME")
    wanted_tools.add_argument("--tests", action="store_true", help="also what only tests run")
    verbs.add_parser("list", help="tell what is pinned and what is here; gets nothing")
    verbs.add_parser("path", help="print where a tool is, got if need be").add_argument(
        "name", metavar="NAME"
    )
    for_host = verbs.add_parser("host", help="write a verified rclone or restic for a host without Internet")
    for_host.add_argument("name", choices=("rclone", "restic"))
    for_host.add_argument("--architecture", required=True, help="of the host: dpkg --print-architecture")
    for_host.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="default: here")
    env = verbs.add_parser("env", help="print export lines to eval: engine and plugins for this shell")
    env.add_argument(
        "--local", action="store_true", help="also this checkout's own state, for its local stack alone"
    )
    args = parser.parse_args()
    try:
        toolchain = Toolchain()
        if args.verb == "ensure":
            for tool in toolchain.ensure(*args.names, tests=args.tests).values():
                print(f"{tool.name:24} {tool.version:44} {tool.origin:20} {tool.path}")
        elif args.verb == "list":
            for pin in toolchain.pins.tools.values():
                here = toolchain.have(pin, {})
                found = f"{here.origin}: {here.path}" if here else "not here"
                print(f"{pin.name:24} {pin.version:22} {found}")
        elif args.verb == "path":
            print(toolchain.ensure(args.name)[args.name].path)
        elif args.verb == "host":
            print(*_for_host(toolchain, args.name, args.architecture, args.to))
        else:
            for line in _lines(toolchain, local=args.local):
                print(line)
    except ToolError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("toolchain: interrupted; run it again to go on where it stopped", file=sys.stderr)
        return 130
    return 0


def _lines(toolchain: Toolchain, *, local: bool) -> Iterator[str]:
    """Shell lines that add the engine; with `local` they also leave nothing of the shell's own backend and credentials."""
    if local:
        wanted = engine.local_environment(toolchain, ROOT)
        yield from (f"unset {name}" for name in sorted(toolchain.environ.keys() - wanted.keys()))
    else:
        wanted = engine.shell_additions(toolchain, ROOT)
    for name, value in sorted(wanted.items()):
        if toolchain.environ.get(name) != value:
            yield f"export {name}={shlex.quote(value)}"


def _for_host(toolchain: Toolchain, name: str, architecture: str, folder: Path) -> tuple[Path, str]:
    """Writes the tool for a host into the folder; the file and its SHA-256, which the enrolment script takes as arguments."""
    tool = toolchain.for_host(name, architecture)
    target = folder / f"{name}-{tool.version}-linux-{architecture}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tool.path, target)
    except OSError as error:
        raise ToolError(f"{target} cannot be written: {error}") from None
    with target.open("rb") as written:
        return target, hashlib.file_digest(written, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
