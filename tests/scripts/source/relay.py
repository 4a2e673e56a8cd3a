"""The relay's behaviour by a plain sshd and the real rclone, with a switch for each way to fail."""

from __future__ import annotations

from tests.scripts.source.machine import Machine

# What a source gets from the relay: exit codes 64, 69 and 75 with one generic line, otherwise rclone, append-only.
FORCED_COMMAND = """#!/bin/sh
source=$1
generation=$(cat /srv/relay/generation 2>/dev/null || echo 1)
set -- /opt/rclone serve restic --stdio --append-only --config /dev/null
case "$(cat /srv/relay/mode 2>/dev/null)" in
  busy) echo "relay: busy" >&2; exit 75 ;;
  spent) echo "relay: today's limit of uploads is reached" >&2; exit 75 ;;
  storage-down) echo "relay: storage unavailable" >&2; exit 69 ;;
  setup) echo "relay: this account is not set up correctly" >&2; exit 64 ;;
  cut) # in the middle of the data, however fast the machine is
    store=/srv/store/$source-$generation
    "$@" "$store" <&0 2>/dev/null & rclone=$!
    while [ "$(du -sm "$store" | cut -f 1)" -lt 20 ] && kill -0 $rclone; do sleep 0.05; done
    kill -9 $rclone; exit 0 ;;
esac
echo "relay: its clock says $(date -u -d "$(cat /srv/relay/clock 2>/dev/null || echo now)" +%Y-%m-%dT%H:%M:%SZ)" >&2
exec "$@" "/srv/store/$source-$generation" 2>/dev/null
"""


class Relay:
    """Listens on 127.0.0.1:22 of the machine. One folder per source and generation, as on the real relay."""

    address, port = "127.0.0.1", 22

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.write("/srv/relay/serve", FORCED_COMMAND, "755")
        # At boot sshd failed without host keys, and systemd may be starting it again at this moment.
        machine.ok(
            "mkdir -p /srv/store && chmod 777 /srv/store && ssh-keygen -A && systemctl stop ssh"
            " && systemctl reset-failed ssh && systemctl start ssh || { journalctl -u ssh >&2; exit 1; }"
        )
        self.host_key = " ".join(machine.read("/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])

    def enrol(self, source: str, public_key: str) -> None:
        account = f"bk-{source}"
        home = f"/home/{account}"
        line = f'restrict,command="/srv/relay/serve {source}" {public_key}\n'
        self._machine.ok(f"id {account} >/dev/null 2>&1 || useradd --create-home --shell /bin/sh {account}")
        self._machine.write(f"{home}/.ssh/authorized_keys", line)
        self._machine.ok(f"chown -R {account} {home}/.ssh")

    def fails_with(self, mode: str) -> None:
        self._machine.write("/srv/relay/mode", mode)

    def works(self) -> None:
        self._machine.ok("rm -f /srv/relay/mode")

    def clock(self, offset: str) -> None:
        """The time on its clock, for `date -d`: ``-1 hour``."""
        self._machine.write("/srv/relay/clock", offset)

    def generation(self, number: int) -> None:
        self._machine.write("/srv/relay/generation", str(number))
