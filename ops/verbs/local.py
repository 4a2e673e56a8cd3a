"""`lastcopy local`: the whole chain on this machine, from nothing to a verified first backup, and its removal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import typer
from rich.panel import Panel

from ops.command_line.output import JsonOption, console, engine_stream, print_json
from ops.errors import LastcopyError
from ops.hosts.machines import Machines
from ops.stack import LocalStack, StackError
from toolchain.checkout import ROOT

SANDBOX = ROOT / ".local" / "sandbox" / "local"
TREE = "/srv/data"
app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Set up the whole chain on this machine, and remove it."
)
machines = Machines(ROOT, SANDBOX)
inside = machines.run

# A tree with everything that breaks naive backups: odd names, links, holes, empty folders, owners, times.
MAKE_TREE = r"""
set -eu
[ ! -e /srv/data/.made ] || exit 0
mkdir -p /srv/data/invoices "/srv/data/odd names" /srv/data/empty && cd /srv/data
i=0; while [ $i -lt 200 ]; do head -c $((i * 701 + 1)) /dev/urandom >"invoices/$i.pdf"; i=$((i + 1)); done
head -c 33554432 /dev/urandom >database.dump
truncate -s 64M sparse.img
printf 'x' >"odd names/  two spaces"; printf 'x' >"odd names/$(printf 'new\nline')"; printf 'x' >"odd names/-rf"; printf 'x' >"odd names/*?[a].tmp.keep"
ln -s ../database.dump invoices/current; ln -s /nowhere dangling; ln database.dump hard.link
chown -R 1234:4321 invoices; chmod 640 database.dump; touch -d '2001-02-03 04:05:06.789' invoices/7.pdf
touch .made
"""
# Type, mode, owner, size, time and content of everything below a folder, as one digest.
MANIFEST = r"""cd "$1" && { find . -printf '%y %m %U:%G %s %T@ %l %p\0' | sort -z; find . -type f -print0 | sort -z | xargs -0 sha256sum -z; } | sha256sum"""


def run_timed(title: str, work: Callable[[], None]) -> dict[str, object]:
    """What was done, and how many seconds it took."""
    console.print(f"[bold]==>[/] {title}")
    began = time.monotonic()
    work()
    seconds = time.monotonic() - began
    console.print(f"    done in {seconds:.1f} s")
    return {"what": title, "seconds": round(seconds, 1)}


def local_stack() -> LocalStack:
    stack = LocalStack(ROOT, "local")
    stack.stream = engine_stream()
    return stack


def wake_up(stack: LocalStack) -> None:
    """Recover from a reboot or a killed run: start the machines that the stack knows, and release a dead run's lock."""
    stack.forget_dead_runs()
    if (SANDBOX / "sandbox.json").exists():
        resumed = machines.sandbox("resume")
        if resumed.returncode != 0:
            raise StackError(resumed.stderr.strip())


def first_backup() -> None:
    inside("web1", "sh", "-c", MAKE_TREE)
    inside("web1", "systemctl", "start", "lastcopy-backup.service")
    snapshots = inside("web1", "restic-backup", "snapshots", "--compact").stdout
    console.print(snapshots.rstrip(), markup=False)


def restore_and_compare() -> None:
    inside("web1", "rm", "-rf", "/var/tmp/restored")
    inside("web1", "restic-backup", "restore", "latest", "--target", "/var/tmp/restored", "--include", TREE)
    original, restored = (
        inside("web1", "sh", "-c", MANIFEST, "sh", at).stdout for at in (TREE, f"/var/tmp/restored{TREE}")
    )
    if original != restored:
        raise StackError(
            f"the restored tree differs from {TREE} on web1; compare it there with /var/tmp/restored{TREE}"
        )
    inside("web1", "rm", "-rf", "/var/tmp/restored")
    console.print(
        f"    {TREE} and its restored copy are the same: content, names, links, modes, owners and times"
    )


def attack() -> None:
    """Try what root on web1 could try with web1's own key and password. Each attempt must be refused, and the data must still be restorable."""
    config = ["-F", "/etc/lastcopy/ssh_config"]
    before = inside("web1", "restic-backup", "snapshots", "--json").stdout
    tries = {
        "open a shell": ["sh", "-c", "echo 'touch /tmp/owned; echo owned' | timeout 4 ssh -tt -F /etc/lastcopy/ssh_config relay sh"],
        "copy a file off the relay": ["timeout", "4", "scp", *config, "relay:/etc/passwd", "/tmp/stolen"],
        "tunnel to the storage": ["timeout", "4", "ssh", *config, "-W", "192.0.2.1:9000", "relay"],
        "delete every snapshot": [
            "timeout", "6", "sh", "-c",
            "restic -o rclone.program='ssh -F /etc/lastcopy/ssh_config relay' --password-file /etc/lastcopy/password "
            "-r rclone: forget --unsafe-allow-remove-all --tag '' --prune",
        ],
    }  # fmt: skip
    for what, command in tries.items():
        done = inside("web1", *command, check=False)
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if "403" in line), lines[-1] if lines else "connection closed")
        if done.returncode == 0 or "owned" in done.stdout:
            raise StackError(f"root on web1 could {what}: {said}")
        console.print(f"    {what}: [green]refused[/] ({said[:110]})")
    if inside("web1", "restic-backup", "snapshots", "--json").stdout != before:
        raise StackError("the attack changed the list of snapshots")
    restore_and_compare()


def summary(seconds: float) -> None:
    console.print(
        Panel.fit(
            f"""All checks passed, {seconds:.0f} s after the first command.

  web1, db1  two source hosts; they can reach only the relay
  relay      sshd with forced commands, rclone append-only, one account and storage identity per source
  storage    S3 server with TLS, versioning and Object Lock (one day)

What to try next
  . .venv/bin/activate                   # the command lastcopy, for this shell
  lastcopy sandbox exec --dir .local/sandbox/local --name web1 -- restic-backup snapshots
  lastcopy sandbox exec --dir .local/sandbox/local --name web1 -- systemctl status lastcopy-backup
  eval "$(lastcopy tools env --local)"   # then: pulumi preview -s local, pulumi stack -s local, …
  change stacks/Pulumi.local.yaml, then: make local
  make clean-local                       # leaves nothing behind

Your own hosts: docs/own-hosts.md""",
            title="lastcopy local stack",
        )
    )


@app.command()
def up(as_json: JsonOption = False) -> None:
    """Set up a real engine, relay and storage and two sources; back up, restore and compare, and try an attack that fails."""
    began = time.monotonic()
    stack = local_stack()
    try:
        stack.create(ROOT / "stacks" / "templates" / "local.yaml")
        wake_up(stack)
        steps = [
            run_timed("pulumi up", stack.up),
            run_timed("first backup of a real directory tree, by the timer's own service", first_backup),
            run_timed("restore and compare byte by byte", restore_and_compare),
            run_timed("root on web1 tries to destroy it", attack),
        ]
    except LastcopyError as error:
        raise LastcopyError(
            f"{error}\nfix the reported problem and run `make local` again: it continues where it stopped; `make clean-local` starts over"
        ) from None
    seconds = time.monotonic() - began
    summary(seconds)
    if as_json:
        print_json({"stack": stack.name, "seconds": round(seconds, 1), "steps": steps})


@app.command()
def down(as_json: JsonOption = False) -> None:
    """Destroy the stack and remove every machine, process, mount, namespace, firewall rule and file of it."""
    stack = local_stack()
    try:
        if stack.file.exists() and stack.exists():
            wake_up(stack)
            stack.destroy()
            stack.run("stack", "rm", "local", "--yes", quiet=True)
    finally:
        # Also remove what an incomplete or lost stack left behind.
        rest = machines.sandbox("destroy")
        if rest.returncode != 0:
            console.print(rest.stderr, markup=False)
    stack.file.unlink(missing_ok=True)
    others = stack.others()
    if others:
        console.print(f"kept .local: it holds the state of {', '.join(others)}")
    else:
        shutil.rmtree(ROOT / ".local")
    console.print("nothing of the local stack is left (the tool cache is kept; see docs/faq.md)")
    if as_json:
        print_json({"stack": stack.name, "kept": others})
