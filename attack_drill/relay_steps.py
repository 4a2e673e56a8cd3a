"""Runs the relay's sshd and firewall steps with the values that the stack gives them, or with changed ones."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from attack_drill.connections import log_in
from attack_drill.drill import Drill
from ops.hosts.connection import CommandResult, SshHost
from sandbox.waiting import becomes_true

LIVE = "/etc/ssh/sshd_config.d/10-lastcopy.conf"
GUARD = "/var/lib/lastcopy/guard"
FIREWALL = "/etc/lastcopy/firewall"
Factor = Literal["none", "fido2", "totp"]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """How a step ended.

    Args:
        code: 0 if all is as wanted, 1 if it was refused, 3 if check mode found drift.
        words: What it wrote to stderr.
        drift: What it would change.
    """

    code: int
    words: str
    drift: tuple[str, ...] = ()


def factor_of(drill: Drill) -> Factor:
    found: Factor = (drill.config.get("admin") or {}).get("secondFactor", "none")
    return found


def sshd_values(
    drill: Drill, factor: Factor | None = None, *, guard: int = 120, trusted: tuple[str, ...] = ()
) -> dict[str, str]:
    """The sshd step's values as the component HardenedSshd renders them.

    Args:
        drill: The drill.
        factor: The second factor; None for the stack's own.
        guard: Seconds until the relay rolls the change back, unless a new login confirms it.
        trusted: Networks that sshd does not ban after failed logins, so that each of many tries is judged for itself.
    """
    from components.relay.sshd import sshd_config as sshd  # imported late: recovery runs without Pulumi

    live = drill.relay.run("cat", LIVE).out
    port = re.search(r"^Port (\d+)$", live, re.MULTILINE)
    plan = sshd.SshdPlan(
        admin_user=drill.relay.endpoint.user,
        second_factor=factor or factor_of(drill),
        listen_port=int(port[1]) if port else 22,
        trusted_networks=trusted,
    )
    return {
        "PHASE": "apply", "ADMIN": plan.admin_user, "FACTOR": plan.second_factor, "GUARD_SECONDS": str(guard),
        "HOST_KEY": drill.outputs["relay"]["hostKey"], "DROPIN_92": sshd.drop_in(plan, "9.2"), "DROPIN_100": sshd.drop_in(plan, "10.0"),
        "EXPECT_92": sshd.expected_of_everyone(plan, "9.2"), "EXPECT_100": sshd.expected_of_everyone(plan, "10.0"),
        "EXPECT_SOURCES": sshd.expected_of_sources(),
    }  # fmt: skip


def with_line(values: Mapping[str, str], line: str) -> dict[str, str]:
    """The values with one more line at the top of the drop-in, where it takes precedence over what follows."""
    changed = {
        name: values[name].replace("\nPort ", f"\n{line}\nPort ", 1) for name in ("DROPIN_92", "DROPIN_100")
    }
    return {**values, **changed}


def firewall_values(drill: Drill, *, guard: int) -> dict[str, str]:
    """The firewall step's values, read from the relay's files."""
    files = {
        "RULES": f"{FIREWALL}/rules.nft", "NAMES": f"{FIREWALL}/names", "UPDATERS": f"{FIREWALL}/updaters",
        "REFRESH": "/usr/local/lib/lastcopy/refresh-storage",
        "UNIT": "/etc/systemd/system/lastcopy-firewall.service", "REFRESH_UNIT": "/etc/systemd/system/lastcopy-storage.service",
        "REFRESH_TIMER": "/etc/systemd/system/lastcopy-storage.timer",
    }  # fmt: skip
    values = {name: drill.relay.run("cat", file).out for name, file in files.items()}
    return {**values, "PHASE": "apply", "GUARD_SECONDS": str(guard)}


def run_steps(
    host: SshHost, mode: Literal["apply", "check", "remove"], script: str, steps: Sequence[Mapping[str, str]], *, dialled: str = "192.0.2.1"
) -> list[StepResult]:  # fmt: skip
    """Run a step once for each set of values, one after the other, in one command whose text is sent on stdin.

    Args:
        host: Where.
        mode: The step's mode.
        script: Its name.
        steps: The sets of values.
        dialled: The client's address that the steps see in SSH_CONNECTION.
    """
    from components.host.program_texts import script_text

    text = ["x=$(mktemp -d /run/lastcopy-step.XXXXXX); trap 'rm -rf \"$x\"' EXIT"]
    for values in steps:
        text += [f"sh -s -- {mode} {shlex.quote(f'{dialled} 1 192.0.2.2 22')} >$x/out 2>$x/err <<'LASTCOPY_STEP'", script_text(script, values)]  # fmt: skip
        text += [
            "LASTCOPY_STEP",
            "echo \"== $?\"; base64 -w 0 $x/out; echo; base64 -w 0 $x/err; echo; sed 's/^/  /' $x/err >&2",
        ]
    done = host.run("sh", "-s", stdin="\n".join(text) + "\n", seconds=300)
    return [_answer(block) for block in done.out.split("== ")[1:]]


def _answer(block: str) -> StepResult:
    code, out, err = [*block.split("\n"), "", ""][:3]
    last = base64.b64decode(out).decode().strip().splitlines()[-1:] or ["{}"]
    line: dict[str, Any] = json.loads(last[0]) if last[0].startswith("{") else {}
    return StepResult(
        code=int(code),
        words=base64.b64decode(err).decode(errors="replace"),
        drift=tuple(line.get("drift", ())),
    )


def log_in_as_operator(drill: Drill) -> CommandResult:
    """Log in at the relay as the operator, on a new connection."""
    return log_in(drill.relay, "-o", "ConnectTimeout=4", seconds=12)


def wait_for_login(drill: Drill, seconds: float) -> bool:
    """Wait until the operator can log in again. Returns whether that happened within the time."""
    return becomes_true(lambda: log_in_as_operator(drill).code == 0, seconds, 1)


@contextmanager
def keep_access(drill: Drill) -> Iterator[None]:
    """Restore the relay's sshd and firewall configuration afterwards, whatever happened to it in between.

    The drill's open connection survives a restart of sshd. If this machine loses its access, the relay rolls back by itself.
    """
    relay = drill.relay
    kept = "/run/lastcopy-access-kept"
    relay.shell(
        f"umask 077; rm -rf {kept}; mkdir {kept} && cp -a {LIVE} {kept}/sshd && cp -a {FIREWALL} {kept}/firewall"
    )
    try:
        yield
    finally:
        relay.shell(
            f"for f in sshd firewall; do if [ -f {GUARD}/$f.restore ]; then sh {GUARD}/$f.restore live && rm -f {GUARD}/$f.restore; fi; done; "
            f"systemctl stop lastcopy-guard-sshd.timer lastcopy-guard-firewall.timer 2>/dev/null; "
            f"cmp -s {kept}/sshd {LIVE} || {{ cp -a {kept}/sshd {LIVE} && systemctl restart ssh; }}; "
            f"cmp -s {kept}/firewall/rules.nft {FIREWALL}/rules.nft || {{ cp -a {kept}/firewall/. {FIREWALL}/ && systemctl restart lastcopy-firewall; }}; "
            # The previous configuration was the confirmed one, so there is nothing left to roll back to.
            f"rm -rf {GUARD}/sshd.previous {GUARD}/firewall.previous; "
            f"rm -rf {kept}"
        )
