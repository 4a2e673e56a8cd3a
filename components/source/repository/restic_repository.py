"""ResticRepository: one source's repository, and the password that opens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.host.connection import Host
from components.host.host_step import HostStep, HostStepArgs
from components.settings import Source
from components.source import step_values


@dataclass(frozen=True, kw_only=True)
class ResticRepositoryArgs:
    """``host``: None for an unmanaged source, whose enrolment script makes the repository.

    ``after``: resources that must exist before the repository. This is not the component's own ``depends_on``, because the password must not
    depend on a host: removing a host's steps from the state (``pulumi state delete --target-dependents``) must never remove the password.
    """

    source: Source
    host: Host | None
    protect: bool = False
    after: Sequence[pulumi.Resource] = ()


class ResticRepository(pulumi.ComponentResource):
    """The repository is created once, and never replaced unless the operator asks for it.

    Pulumi type ``lastcopy:source:ResticRepository``. Children: ``<name>-password`` (random.RandomPassword,
    32 letters and digits; only if the stack gives no password; protected with ``protect``) and
    ``<name>-init`` (HostStep; none for an unmanaged source).
    Outputs: ``password`` (secret), ``repository_id`` and ``key_id`` (for ``--key-hint``, S9); the last two
    are None for an unmanaged source.
    Errors, before anything changes: a password that does not open an existing repository; a repository that
    has disappeared or been exchanged; a repository whose creation was interrupted between key and
    configuration, which append-only storage can never complete.
    A changed password is accepted only if it already opens the repository (``restic-backup key add`` first):
    append-only lets a source add a key but never remove one, so a new password alone locks nobody out.
    Only a new ``generation`` helps against a leaked password.
    Removing the source removes nothing from the storage; the host keeps its password file.
    """

    password: pulumi.Output[str]
    repository_id: pulumi.Output[str | None]
    key_id: pulumi.Output[str | None]

    def __init__(
        self, name: str, args: ResticRepositoryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(
            "lastcopy:source:ResticRepository",
            name,
            {"source": args.source.name, "generation": args.source.generation},
            opts,
        )
        if args.source.password is not None:
            self.password = pulumi.Output.secret(args.source.password.get_secret_value())
        else:
            made = random.RandomPassword(
                f"{name}-password",
                length=32,
                special=False,
                # A changed recipe must never replace the only password that opens the stored data.
                opts=pulumi.ResourceOptions(
                    parent=self, protect=args.protect, ignore_changes=["length", "special"]
                ),
            )
            self.password = pulumi.Output.secret(made.result)
        self.repository_id = self.key_id = pulumi.Output.from_input(None)
        if args.host is not None:
            init = HostStep(
                f"{name}-init",
                HostStepArgs(
                    host=args.host,
                    script="repository",
                    values=step_values.repository(args.source),
                    secrets={"PASSWORD": self.password},
                ),
                pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
            )
            self.repository_id = init.facts.apply(lambda facts: facts.get("repository_id"))
            self.key_id = init.facts.apply(lambda facts: facts.get("key_id"))
        self.register_outputs(
            {"password": self.password, "repository_id": self.repository_id, "key_id": self.key_id}
        )
