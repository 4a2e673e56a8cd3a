"""A machine as cloud-init leaves it: one ECDSA host key that others could read, and an admin. Steps go over ssh, like those of HostStep."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from components.aws.first_host_key import FirstKey, first_key
from components.host.program_texts import script_text
from tests.scripts.source.machine import Done, Machine, Step

BORN = first_key("the-seed-of-a-machine-in-these-tests")
KEYS = "/etc/ssh/ssh_host_ecdsa_key"
RECORD = "/var/lib/lastcopy/host-key.pub"


@dataclass
class Newborn:
    machine: Machine

    def reset(self) -> None:
        self.machine.ok(
            "rm -rf /etc/ssh/ssh_host_* /etc/ssh/.lastcopy* /etc/ssh/lastcopy /etc/ssh/sshd_config.d/* /var/lib/lastcopy /etc/cloud"
            " /usr/local/sbin/cloud-init /usr/local/sbin/unattended-upgrade /root/pins; mkdir -p /root/pins /etc/cloud /run/sshd"
        )
        self.bear(BORN, KEYS)
        self.machine.ok(
            "[ -f /root/admin ] || ssh-keygen -q -t ed25519 -N '' -f /root/admin;"
            " cp /root/admin.pub /home/admin/.ssh/authorized_keys; chown -R admin: /home/admin/.ssh;"
            " systemctl reset-failed ssh; systemctl restart ssh"
        )

    def bear(self, key: FirstKey, path: str) -> None:
        self.machine.write(path, key.private, "600")
        self.machine.write(f"{path}.pub", f"{key.public}\n")

    def dial(self, pin: str, line: str = "true", stdin: str = "", port: int = 22) -> Done:
        """Connect like the engine's plugin: ask for the pinned type of key, and accept only the pinned key."""
        self.machine.write("/root/pins/known_hosts", f"relay {pin}\n")
        words = [
            *("ssh", "-F", "/dev/null", "-i", "/root/admin", "-p", str(port), "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/root/pins/known_hosts"),
            *("-o", "HostKeyAlias=relay", "-o", f"HostKeyAlgorithms={pin.split()[0]}"),
            *("-o", "ConnectTimeout=5", "admin@127.0.0.1", line),
        ]
        return self.machine.run(shlex.join(words), stdin=stdin)

    def send(self, phase: str, pin: str, *, mode: str = "apply", text: str | None = None) -> Step:
        done = self.dial(
            pin,
            f'exec sudo -n timeout -k 10 300 /bin/sh -s -- {mode} "$SSH_CONNECTION"',
            text or self.text(phase),
        )
        return Step.read(done)

    @staticmethod
    def text(phase: str) -> str:
        return script_text("host_key", {"PHASE": phase, "BORN_WITH": BORN.public})

    def make(self) -> str:
        made = self.send("make", BORN.public)
        assert made.code == 0, made.err
        return made.facts["public_key"]

    def hand_over(self) -> str:
        own = self.make()
        retired = self.send("retire", own)
        assert retired.code == 0, retired.err
        return own

    def kill_at(self, phase: str, command: int) -> bool:
        """Run the step and kill it before its n-th command; returns whether it got that far."""
        trap = f"n=0; set -T; trap 'n=$((n+1)); [ $n -ne {command} ] || kill -KILL $$' DEBUG\n"
        done = self.machine.run(
            "exec bash --posix -s -- apply '127.0.0.1 1 127.0.0.1 22'", stdin=trap + self.text(phase)
        )
        assert done.code in (0, -9, 137), done.err
        return done.code != 0
