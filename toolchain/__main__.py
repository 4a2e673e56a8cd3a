"""python -m toolchain ensure [--tests] [NAME…] | list | path NAME | env"""

from __future__ import annotations

import argparse
import shlex
import sys
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
    verbs.add_parser("env", help="print export lines to eval, for running pulumi by hand")
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
        else:
            wanted = engine.environment(toolchain, ROOT)
            for name in sorted(toolchain.environ.keys() - wanted.keys()):
                print(f"unset {name}")
            for name, value in sorted(wanted.items()):
                if toolchain.environ.get(name) != value:
                    print(f"export {name}={shlex.quote(value)}")
    except ToolError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("toolchain: interrupted; run it again to go on where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
