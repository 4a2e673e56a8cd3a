"""Applies user data at the first boot: the part of cloud-init's cloud-config that this project uses, on a sandbox machine.

It is applied from outside, as root, right after the machine has started; unknown keys are refused. In place of AWS it also sets the
name server and the authority that signs S3's certificate to the sandbox's.
Not done: `packages` and the package lists (a sandbox machine reaches no mirror; its image contains what is needed).
"""

from __future__ import annotations

import base64
import subprocess
from typing import Any

import yaml

from sandbox import Sandbox
from sandbox.image import ADMIN
from tests.aws.double.refused import Refused

HEADER = "#cloud-config"
CA = "/usr/local/share/ca-certificates/sandbox.crt"
# Accepted and ignored: how packages are installed, and what the image already has.
NOT_DONE = {
    "package_update",
    "package_upgrade",
    "packages",
    "apt",
    "preserve_hostname",
    "manage_etc_hosts",
    "ssh_pwauth",
    "disable_root",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "ssh",
    "ssh_quiet_keygen",
    "no_ssh_fingerprints",
    "ssh_publish_hostkeys",
    "final_message",
    "growpart",
    "resize_rootfs",
}
DONE = {"bootcmd", "hostname", "runcmd", "ssh_authorized_keys", "ssh_keys", "users", "write_files"}


class Machine:
    """One machine, controlled as root from outside."""

    def __init__(self, box: Sandbox, name: str) -> None:
        self._box, self._name = box, name

    def run(self, *argv: str, stdin: str = "") -> str:
        done = subprocess.run(
            self._box.command(self._name, list(argv)),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise Refused(
                f"user data of {self._name}: {argv[0]} ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def sh(self, script: str, *arguments: str, stdin: str = "") -> str:
        return self.run("sh", "-euc", script, "sh", *arguments, stdin=stdin)

    def write(self, path: str, content: str, mode: str = "0644", owner: str = "root:root") -> None:
        script = 'umask 077; mkdir -p -m 755 "${1%/*}"; cat >"$1"; chown "$3" "$1"; chmod "$2" "$1"'
        self.sh(script, path, mode, owner, stdin=content)


def apply(box: Sandbox, name: str, text: str) -> None:
    """Make the machine as the user data describes it, with no other access."""
    config = parse(text)
    machine = Machine(box, name)
    _network(box, machine)
    for command in config.get("bootcmd") or []:
        _command(machine, command)
    _accounts(machine, config.get("users") or ["default"], config.get("ssh_authorized_keys") or [])
    for file in config.get("write_files") or []:
        _file(machine, file)
    if config.get("hostname"):
        machine.sh('printf "%s\\n" "$1" >/etc/hostname; hostname "$1"', config["hostname"])
    _host_keys(machine, config.get("ssh_keys") or {})
    for command in config.get("runcmd") or []:
        _command(machine, command)
    machine.sh("install -d -m 755 /var/lib/cloud/instance; : >/var/lib/cloud/instance/boot-finished")


def parse(text: str) -> dict[str, Any]:
    """The settings; refused if they are not cloud-config or contain something unknown."""
    if not text.strip():
        return {}
    if text.splitlines()[0].strip() != HEADER:
        raise Refused(f"user data begins with {text.splitlines()[0][:40]!r}; the double reads {HEADER} only")
    config: dict[str, Any] = yaml.safe_load(text) or {}
    if unknown := sorted(config.keys() - DONE - NOT_DONE):
        raise Refused(f"the double's user data interpreter does not know {', '.join(unknown)}")
    return config


def _network(box: Sandbox, machine: Machine) -> None:
    """The sandbox's name server and authority, in place of the VPC's and of public ones."""
    authority = (box.storage_folder / "certs" / "ca.crt").read_text()
    machine.write(CA, authority)
    # What update-ca-certificates does, without its delay of some seconds.
    machine.sh(f"cat {CA} >>/etc/ssl/certs/ca-certificates.crt")
    machine.write("/etc/resolv.conf", f"nameserver {box.driver.storage_address}\n")


def _accounts(machine: Machine, users: list[Any], keys: list[str]) -> None:
    """The image's own account ("default") and others; the sandbox's own access ends here."""
    machine.sh(f': >"/home/{ADMIN}/.ssh/authorized_keys"; rm -f /etc/sudoers.d/90-cloud-admin')
    for user in users:
        entry = {"name": ADMIN} if user == "default" else dict(user)
        known = {
            "name",
            "ssh_authorized_keys",
            "sudo",
            "shell",
            "groups",
            "lock_passwd",
            "gecos",
            "primary_group",
            "no_user_group",
        }
        if unknown := sorted(entry.keys() - known):
            raise Refused(f"the double's user data interpreter does not know users' {', '.join(unknown)}")
        name = entry["name"]
        machine.sh('id "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"', name)
        own = [*(entry.get("ssh_authorized_keys") or []), *(keys if name == ADMIN else [])]
        machine.sh(
            'home=$(getent passwd "$1" | cut -d : -f 6); install -d -m 700 -o "$1" -g "$1" "$home/.ssh"; umask 077\n'
            'cat >"$home/.ssh/authorized_keys"; chown "$1:" "$home/.ssh/authorized_keys"',
            name,
            stdin="".join(f"{one.strip()}\n" for one in own),
        )
        if sudo := entry.get("sudo"):
            rules = [sudo] if isinstance(sudo, str) else sudo
            lines = "".join(f"{name} {rule}\n" for rule in rules)
            machine.write("/etc/sudoers.d/90-cloud-init-users", lines, "0440")


def _file(machine: Machine, file: dict[str, Any]) -> None:
    known = {"path", "content", "permissions", "owner", "encoding", "append", "defer"}
    if unknown := sorted(file.keys() - known):
        raise Refused(f"the double's user data interpreter does not know write_files' {', '.join(unknown)}")
    content = file.get("content") or ""
    encoding = file.get("encoding") or "text/plain"
    if encoding in ("b64", "base64"):
        content = base64.b64decode(content).decode()
    elif encoding != "text/plain":
        raise Refused(f"the double's user data interpreter does not know the encoding {encoding}")
    if file.get("append"):
        machine.sh('cat >>"$1"', file["path"], stdin=content)
    else:
        machine.write(
            file["path"], content, str(file.get("permissions") or "0644"), file.get("owner") or "root:root"
        )


def _host_keys(machine: Machine, keys: dict[str, str]) -> None:
    """Given keys replace the image's, as with cloud-init; without any, sshd gets a new key, as on AWS."""
    machine.sh("rm -f /etc/ssh/ssh_host_*")
    for name, text in keys.items():
        kind, half = name.rsplit("_", 1)
        if half not in ("private", "public"):
            raise Refused(f"the double's user data interpreter does not know ssh_keys' {name}")
        suffix, mode = (".pub", "0644") if half == "public" else ("", "0600")
        machine.write(f"/etc/ssh/ssh_host_{kind}_key{suffix}", text.strip() + "\n", mode)
    machine.sh(
        "ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1 || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"
    )
    machine.sh("systemctl restart ssh.service")


def _command(machine: Machine, command: Any) -> None:
    """As in cloud-init: a list is run directly, text by the shell."""
    if isinstance(command, list):
        machine.run(*[str(word) for word in command])
    else:
        machine.sh(str(command))
