"""HostStep: the one door through which this program changes a machine.

Nothing else imports ``pulumi_command.remote``. What a step wants to be true goes to the host on stdin (never in argv, environment
or a file that others can read), and one JSON line of public facts comes back.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pulumi
from pulumi_command import remote

COMPONENTS = Path(__file__).parents[1]
# Everything but `triggers`: the engine takes the new values of these, too, when the triggers replace the step.
_ONCE = ("connection", "create", "stdin", "logging", "addPreviousOutputInEnv")
_DIAL_SECONDS = 10
_DIALS = 4
_PRELUDES = re.compile(r"^# prelude: ([a-z_ ]+)$", re.MULTILINE)
_VALUE_NAME = re.compile(r"[A-Z][A-Z0-9_]*\Z")


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A jump host: another host is dialled from it, inside its connection. Its own host key is pinned as well (A1).

    It forwards bytes and can read or change none of them: the inner connection checks the other host's key end to end.
    """

    address: pulumi.Input[str]
    host_key: pulumi.Input[str]
    user: pulumi.Input[str]
    port: pulumi.Input[int] = 22
    private_key: pulumi.Input[str] | None = None

    def connection(self) -> remote.ProxyConnectionArgs:
        return remote.ProxyConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
            private_key=_secret(self.private_key),
            dial_error_limit=_DIALS,
            per_dial_timeout=_DIAL_SECONDS,
        )

    def summary(self) -> dict[str, pulumi.Input[str] | pulumi.Input[int]]:
        """As `Host.summary`."""
        return {"address": self.address, "port": self.port, "user": self.user, "hostKey": self.host_key}

    def dial(self) -> pulumi.Output[dict[str, Any]]:
        """The connection as plain values, see `Host.dial`."""
        return pulumi.Output.all(
            address=self.address,
            port=self.port,
            user=self.user,
            hostKey=self.host_key,
            privateKey=self.private_key,
        )


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine reached by SSH whose host key is known before the first dial (A1).

    ``ready`` are the resources that must exist before it can be dialled; ``machine`` is the one with which it disappears, so that a
    destroy does not dial a host that is gone. ``incarnation`` names the one machine behind the address, where another may take its place:
    every step is made anew on the next one. ``instance_metadata``: whether root may ask the cloud about the machine (169.254.169.254);
    the sources' processes never may. ``fetches``: whether the host gets tools and packages from the Internet by itself; where not, the
    tools are handed over from here, and a step that misses a package is refused. ``jump``: the jump host from which it is dialled.
    ``dials``: how often a refused or lost dial is repeated, with waits of up to 5 s in between.
    """

    name: str
    address: pulumi.Input[str]
    host_key: pulumi.Input[str]
    user: pulumi.Input[str]
    port: pulumi.Input[int] = 22
    private_key: pulumi.Input[str] | None = None
    jump: Jump | None = None
    ready: Sequence[pulumi.Resource] = field(default_factory=tuple)
    machine: pulumi.Resource | None = None
    incarnation: pulumi.Input[str] | None = None
    instance_metadata: Literal["open", "closed"] = "open"
    fetches: bool = True
    dials: int = _DIALS

    def summary(self) -> dict[str, object]:
        """Where this workstation dials the machine, for ``ops``: the outputs ``relay`` and ``sources``. Nothing is secret."""
        jump = None if self.jump is None else self.jump.summary()
        told = {"address": self.address, "port": self.port, "user": self.user, "hostKey": self.host_key}
        return {**told, "jumpHost": jump}

    def connection(self) -> remote.ConnectionArgs:
        """Typed on purpose: an unknown field in a loose dict would print the private key in the error."""
        return remote.ConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
            private_key=_secret(self.private_key),
            dial_error_limit=self.dials,
            per_dial_timeout=_DIAL_SECONDS,
            proxy=None if self.jump is None else self.jump.connection(),
        )

    def dial(self) -> pulumi.Output[dict[str, Any]]:
        """The connection as plain values, for a program on this workstation that dials the host itself; as a whole a secret."""
        known: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            name=self.name,
            address=self.address,
            port=self.port,
            user=self.user,
            hostKey=self.host_key,
            privateKey=self.private_key,
            jump=None if self.jump is None else self.jump.dial(),
        )
        return pulumi.Output.secret(known)


def _secret(value: pulumi.Input[str] | None) -> pulumi.Output[str] | None:
    return None if value is None else pulumi.Output.secret(value)


def script_path(script: str) -> Path:
    """The one file ``<script>.sh`` below components/, beside the component that sends it."""
    found = sorted(COMPONENTS.glob(f"*/{script}.sh"))
    if len(found) != 1:
        raise ValueError(f"components/*/{script}.sh: {len(found)} files, 1 needed")
    return found[0]


def script_text(script: str, values: Mapping[str, str]) -> str:
    """The whole text that a step sends on stdin: lib.sh, values, script, and last the line that starts it.

    What several scripts share is in preludes: a script names its own in a line ``# prelude: NAME NAME``, and each of them is sent before it.
    Values are base64, so no value can end a quote or become a command. Nothing runs unless the last line arrived.
    """
    wrong = [name for name in values if not _VALUE_NAME.match(name)]
    if wrong:
        raise ValueError(f"value names must be A-Z, 0-9 and _: {wrong}")
    lines = [script_path("lib").read_text(), f"STEP={script}"]
    lines += [f"V_{name}={base64.b64encode(text.encode()).decode()}" for name, text in sorted(values.items())]
    own = script_path(script).read_text()
    named = " ".join(_PRELUDES.findall(own)).split()
    lines += [script_path(prelude).read_text() for prelude in named]
    lines += [own, 'main "$@" </dev/null', ""]
    return "\n".join(lines)


def _facts(stdout: str) -> dict[str, str]:
    lines = stdout.strip().splitlines()
    if not lines:
        return {}
    facts: dict[str, str] = json.loads(lines[-1])["facts"]
    return facts


class HostStep(pulumi.ComponentResource):
    """One idempotent change of one host, re-run in place whenever what it should say changes.

    Pulumi type ``lastcopy:host:HostStep``; child ``<name>-command`` (pulumi-command remote.Command).
    ``values`` are public: they are this component's inputs, so that ``pulumi preview --diff`` shows a reviewer which line of which file
    will change. ``secrets`` travel beside them on stdin and are encrypted in the state. Output ``facts``: the public values that the
    script reported. A failed step leaves no resource and the next run repeats it; scripts converge (A7).
    On a host with an ``incarnation`` another machine means a new step, and the old one's undoing is skipped with the old machine. ``once``: a
    step that can be dialled only once in a machine's life; later changes of its text or connection do not run it again.
    Does not see drift made on the host by hand: the engine's refresh cannot. Run with ``check`` in place of ``apply``, the same text
    reports drift and changes nothing.
    """

    facts: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        host: Host,
        script: str,
        values: Mapping[str, pulumi.Input[str]] | None = None,
        secrets: Mapping[str, pulumi.Input[str]] | None = None,
        undo: bool = False,
        once: bool = False,
        seconds: int = 300,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        values, secrets = dict(values or {}), dict(secrets or {})
        if not host.fetches:
            values["FETCHES"] = "no"
        if twice := sorted(values.keys() & secrets.keys()):
            raise ValueError(f"named both as value and as secret: {twice}")
        super().__init__(
            "lastcopy:host:HostStep",
            name,
            {"host": host.address, "script": script, "values": values, "secretNames": sorted(secrets)},
            opts,
        )

        def line(mode: str) -> pulumi.Output[str]:
            # `timeout` because the engine's own time-outs cannot stop a remote process.
            run = f'timeout -k 10 {seconds} /bin/sh -s -- {mode} "$SSH_CONNECTION"'
            return pulumi.Output.from_input(host.user).apply(
                lambda user: f"exec {run}" if user == "root" else f"exec sudo -n {run}"
            )

        known: pulumi.Output[dict[str, str]] = pulumi.Output.from_input({**values, **secrets})  # type: ignore[dict-item]
        stdin: pulumi.Output[str] = pulumi.Output.secret(
            known.apply(lambda texts: script_text(script, texts))
        )
        self._command = remote.Command(
            f"{name}-command",
            connection=host.connection(),
            create=line("apply"),
            delete=line("remove") if undo else None,
            stdin=stdin,
            triggers=None if host.incarnation is None else [host.incarnation],
            add_previous_output_in_env=False,
            logging=remote.Logging.NONE,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*host.ready, *after],
                additional_secret_outputs=["stdout", "stderr"],
                deleted_with=host.machine,
                ignore_changes=list(_ONCE) if once else None,
            ),
        )
        # Facts are public by the scripts' contract; everything else that a command prints stays secret.
        self.facts = pulumi.Output.unsecret(self._command.stdout).apply(_facts)
        self.register_outputs({"facts": self.facts})
