"""`python -m sandbox VERB --dir DIR …`: one JSON line of facts on stdout, progress and errors on stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from sandbox.bucket import SandboxBucket
from sandbox.driver import DRIVERS
from sandbox.errors import SandboxError, say
from sandbox.image import DEBIAN, SUITES
from sandbox.prepare import prepare
from sandbox.verbs import Sandbox

Verb = Callable[[Sandbox, argparse.Namespace], dict[str, Any]]


def _secret_from_stdin() -> str:
    if sys.stdin.isatty():
        say("reading the secret key from stdin")
    return sys.stdin.readline().rstrip("\r\n")


VERBS: dict[str, tuple[str, Verb]] = {
    "network-up": ("image, network and admin key", lambda box, a: box.network_up(a.network, a.driver)),
    "network-down": ("remove all of the sandbox", lambda box, _: box.network_down()),
    "machine-up": (
        "make and boot a machine",
        lambda box, a: box.machine_up(a.name, a.role, debian=a.debian, tool=not a.no_tool),
    ),
    "machine-restart": ("reboot a machine", lambda box, a: box.machine_restart(a.name)),
    "machine-down": ("remove a machine", lambda box, a: box.machine_down(a.name)),
    "storage-up": (
        "run the object store with a locked bucket",
        lambda box, a: box.storage_up(SandboxBucket(a.bucket, a.lock_mode, a.lock_days)),
    ),
    "storage-down": ("remove the object store and all in it", lambda box, _: box.storage_down()),
    "identity-up": (
        "a source's storage identity; secret key on stdin",
        lambda box, a: box.identity_up(a.source, a.prefix, a.access_key, _secret_from_stdin()),
    ),
    "identity-down": ("remove a source's storage identity", lambda box, a: box.identity_down(a.source)),
    "resume": ("run again all that was made, after a reboot", lambda box, _: box.resume()),
    "destroy": ("remove all of the sandbox", lambda box, _: box.destroy()),
    "status": ("what exists, where, and whether it runs", lambda box, _: _status(box)),
    "exec": ("run a command as root inside a machine", lambda box, a: _exec(box, a)),
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "network-up": {
        "--network": {"required": True, "help": "IPv4 range, such as 198.51.100.0/24"},
        "--driver": {"default": "auto", "choices": ("auto", *DRIVERS)},
    },
    "machine-up": {
        "--name": {"required": True},
        "--role": {"required": True, "choices": ("relay", "source")},
        "--debian": {"type": int, "default": DEBIAN, "choices": tuple(SUITES), "help": "its release"},
        "--no-tool": {"action": "store_true", "help": "without rclone (relay) or restic (source)"},
    },
    "machine-restart": {"--name": {"required": True}},
    "machine-down": {"--name": {"required": True}},
    "storage-up": {
        "--bucket": {"required": True},
        "--lock-mode": {"required": True, "choices": ("COMPLIANCE", "GOVERNANCE")},
        "--lock-days": {"required": True, "type": int},
    },
    "identity-up": {
        "--source": {"required": True},
        "--prefix": {"required": True},
        "--access-key": {"required": True},
    },
    "identity-down": {"--source": {"required": True}},
    "exec": {"--name": {"required": True}, "argv": {"nargs": argparse.REMAINDER, "help": "-- CMD [ARG…]"}},
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (help_, _) in VERBS.items():
        sub = verbs.add_parser(verb, help=help_)
        sub.add_argument("--dir", required=True, type=Path, help="the sandbox's runtime folder")
        for option, settings in OPTIONS.get(verb, {}).items():
            sub.add_argument(option, **settings)
    verbs.add_parser("prepare", help="install what this host lacks for driver nspawn (Debian, root)")
    return top


def _status(box: Sandbox) -> dict[str, Any]:
    facts = box.status()
    rows = [("NAME", "ROLE", "ADDRESS", "STATE")]
    for machine in facts["machines"]:
        state = "running" if machine["running"] else "stopped"
        rows.append((machine["name"], machine["role"], f"{machine['address']}:{machine['port']}", state))
    storage = facts["storage"]
    rows.append(("storage", "storage", storage["endpoint"], "running" if storage["running"] else "stopped"))
    for row in rows:
        print("{:<20} {:<8} {:<28} {}".format(*row), file=sys.stderr)
    return facts


def _exec(box: Sandbox, arguments: argparse.Namespace) -> NoReturn:
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        raise SandboxError("no command given", where="exec", fix="… exec --dir DIR --name NAME -- CMD [ARG…]")
    command = box.command(arguments.name, argv)
    os.execvp(command[0], command)  # noqa: S606 - no shell on this side; status and streams are the command's own


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        verb = VERBS.get(arguments.verb)
        facts = verb[1](Sandbox(arguments.dir), arguments) if verb else prepare()
    except SandboxError as error:
        say(f"error: {error}")
        return 1
    except PermissionError as error:
        say(f"error: {error}\n  fix:   run this as the user who made the sandbox (root for driver nspawn)")
        return 1
    print(json.dumps(facts, sort_keys=True), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
