"""HostStep: the only way in which this program changes a machine.

Only this module and the connection import ``pulumi_command.remote``. The desired state goes to the host on stdin (never in argv,
the environment or a file that others can read), and one JSON line of public facts comes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_command import remote

from components.host.connection import Host
from components.host.program_texts import program_files, script_text, stored_program, stored_step_text

# Everything except `triggers`: when the triggers replace the step, the engine takes the new values of these inputs, too.
_ONCE = ("connection", "create", "stdin", "logging", "addPreviousOutputInEnv")


@dataclass(frozen=True, kw_only=True)
class HostStepArgs:
    """``script`` names the file ``<script>.sh`` below components/. ``values`` are public, ``secrets`` are not; no name may be in both.

    ``undo``: run the script's ``step_remove`` when the step leaves the stack. ``once``: the step can run only once in a machine's
    life; later changes of its text or connection do not run it again. ``seconds``: the host ends the step after this time.
    """

    host: Host
    script: str
    values: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    undo: bool = False
    once: bool = False
    seconds: int = 300

    def __post_init__(self) -> None:
        if twice := sorted(self.values.keys() & self.secrets.keys()):
            raise ValueError(f"named both as value and as secret: {twice}")


class HostStep(pulumi.ComponentResource):
    """One idempotent change of one host. It runs again in place whenever its values or programs change.

    Pulumi type ``lastcopy:host:HostStep``; child ``<name>-command`` (pulumi-command remote.Command).
    Public values are inputs of this component, so that ``pulumi preview --diff`` shows a reviewer which line of which file will change; the
    programs that the step runs or installs appear there with the beginning of their SHA-256. Secrets travel on stdin, too,
    and are encrypted in the state. Output ``facts``: the public values that the script reported. A failed step leaves no resource, and the
    next run repeats it; scripts converge (A7).
    If the host has a ``store``, stdin and the state hold only values and the digests of the programs; otherwise the whole text. If the host has an
    ``incarnation``, a new machine means a new step, and the old step's removal is skipped with the old machine.
    Manual changes on the host are not noticed: the engine's refresh cannot see them. The same text, run with ``check`` instead of ``apply``,
    reports drift and changes nothing.
    """

    facts: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, args: HostStepArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        host = args.host
        values = {**args.values, **({} if host.fetches else {"FETCHES": "no"})}
        super().__init__(
            "lastcopy:host:HostStep",
            name,
            {
                "host": host.address,
                "script": args.script,
                "values": values,
                "secretNames": sorted(args.secrets),
                "programs": _labels(args.script),
            },
            # All that the command comes after: a child is made after its component and removed before what that depends on.
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=_prerequisites(host))),
        )
        self._command = remote.Command(
            f"{name}-command",
            connection=host.connection(),
            create=_line(args, "apply"),
            delete=_line(args, "remove") if args.undo else None,
            stdin=_stdin(args, values),
            triggers=None if host.incarnation is None else [host.incarnation],
            add_previous_output_in_env=False,
            logging=remote.Logging.NONE,
            opts=pulumi.ResourceOptions(
                parent=self,
                additional_secret_outputs=["stdout", "stderr"],
                deleted_with=host.machine,
                ignore_changes=list(_ONCE) if args.once else None,
            ),
        )
        # By the scripts' contract facts are public. Everything else that a command prints stays secret.
        self.facts = pulumi.Output.unsecret(self._command.stdout).apply(_facts)
        self.register_outputs({"facts": self.facts})


def _prerequisites(host: Host) -> list[pulumi.Resource]:
    return [*host.ready, *([host.store.sender] if host.store else [])]


def _stdin(args: HostStepArgs, values: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    texts: pulumi.Output[dict[str, str]] = pulumi.Output.all(**values, **args.secrets)
    host, script = args.host, args.script
    if host.store is None:
        return pulumi.Output.secret(texts.apply(lambda known: script_text(script, known)))
    program = stored_program(script)
    if program.sha256 not in host.store.digests:
        raise ValueError(
            f"step {script} on host {host.name}: not among the programs sent to it: {program.name}"
        )
    return pulumi.Output.secret(texts.apply(lambda known: stored_step_text(script, known, host=host.name)))


def _labels(script: str) -> dict[str, str]:
    files = {value: file.label for value, file in program_files(script).items()}
    return {"script": stored_program(script).label, **files}


def _line(args: HostStepArgs, mode: str) -> pulumi.Output[str]:
    # `timeout`, because the engine's own timeouts cannot stop a remote process.
    run = f'timeout -k 10 {args.seconds} /bin/sh -s -- {mode} "$SSH_CONNECTION"'
    return pulumi.Output.from_input(args.host.user).apply(
        lambda user: f"exec {run}" if user == "root" else f"exec sudo -n {run}"
    )


def _facts(stdout: str) -> dict[str, str]:
    lines = stdout.strip().splitlines()
    if not lines:
        return {}
    facts: dict[str, str] = json.loads(lines[-1])["facts"]
    return facts
