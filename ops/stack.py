"""Stack: one environment of this project, driven through the engine's command line.

`choose_stack` decides which engine home, backend, secrets provider and credentials a verb uses, by one rule: with ``--sandbox``, those of
the checkout's own local stack; otherwise those of the shell, so that the verb sees what `pulumi` itself would.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import toolchain
from ops.engine_errors import explain
from ops.errors import LastcopyError
from ops.hosts.filtered_agent import offer_named_keys

ENGINE = "pulumi"
PROJECT = "lastcopy:"  # the namespace of this project's own configuration


class StackError(LastcopyError):
    """The engine refused or failed. Its output is in the message, or was already shown."""


class Stack:
    """Runs `pulumi` for one stack of the project at ``root``.

    ``name``: as `pulumi --stack` takes it, also ``organization/project/stack``. ``environment``: the engine's whole environment, including
    backend, secrets provider and credentials; no other program gets it. ``config_file``: the stack's settings, if they are not in
    `stackConfigDir`; as `pulumi --config-file` takes it. ``stream``: the file descriptor that gets the engine's output; None: standard output.
    """

    stream: int | None = None

    def __init__(
        self, root: Path, name: str, environment: Mapping[str, str], config_file: Path | None = None
    ) -> None:
        self.root = root
        self.name = name
        self.environment = dict(environment)
        self.config_file = config_file.expanduser().absolute() if config_file else None

    @classmethod
    def of_shell(cls, root: Path, name: str | None = None, config_file: Path | None = None) -> Stack:
        """The stack that `pulumi` itself would use in this shell. With ``name`` None it is the selected stack.

        The engine is the shell's own; if PATH holds none, the toolchain's engine with its plugins is used.
        """
        if not (root / "Pulumi.yaml").is_file():
            raise StackError(
                "this `lastcopy` was installed without its checkout, so it has no program and no stacks",
                where=str(root),
                fix="in a checkout of the project: `make` or `pip install -e .`, then `. .venv/bin/activate`",
            )
        environment = dict(os.environ)
        if shutil.which(ENGINE) is None:
            if name is None and "PULUMI_STACK" not in environment:
                raise StackError(
                    "no stack is named, and without `pulumi` on PATH none is selected",
                    where="--stack",
                    fix='name it, or first `eval "$(lastcopy tools env)"` and `pulumi stack select`',
                )
            try:
                environment |= toolchain.engine_for_shell(root)
            except toolchain.ToolError as error:
                raise StackError(
                    f"there is no `pulumi` on PATH, and the toolchain could not provide it:\n{error}"
                ) from None
        stack = cls(root, name or "", environment, config_file)
        if name is None:
            stack.name = stack.run("stack", "--show-name", quiet=True).stdout.strip()
        return stack

    @property
    def short_name(self) -> str:
        """The stack's own name, without organization and project, as in its URNs and its file name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def file(self) -> Path:
        """The stack file."""
        return self.config_file or self.root / "stacks" / f"Pulumi.{self.short_name}.yaml"

    @property
    def named(self) -> tuple[str, ...]:
        """The arguments that name this stack to a command."""
        return ("--stack", self.name)

    @property
    def configured(self) -> tuple[str, ...]:
        """The same arguments for a command that reads or writes the stack's settings."""
        return (*self.named, *(("--config-file", str(self.config_file)) if self.config_file else ()))

    def run(
        self,
        *words: str,
        quiet: bool = False,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `pulumi WORDS…`. Its output is streamed, or with ``quiet`` captured and shown only if it fails. Raises StackError unless ``check`` is off."""
        done = subprocess.run(
            [ENGINE, *words, "--non-interactive", "--color", "never" if quiet else "auto"],
            cwd=self.root,
            env=self.environment if environment is None else environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else self.stream,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise self._error(words, done)
        return done

    def _error(self, words: Sequence[str], done: subprocess.CompletedProcess[str]) -> StackError:
        said = f"{done.stdout or ''}{done.stderr or ''}".strip()
        refused = explain(said, stack=self.name, backend=self._backend, list_stacks=self._list_stacks)
        if refused:
            return StackError(refused.what, where=refused.where, allowed=refused.allowed, fix=refused.fix)
        what = f"pulumi {' '.join(words)} ended with exit status {done.returncode}\n{said}".strip()
        fix = "" if said else "its own words above say why; docs/troubleshooting.md explains the usual ones"
        return StackError(what, where=f"stack {self.name}, backend {self._backend}", fix=fix)

    def _list_stacks(self) -> list[str]:
        """The names in the backend; none if it cannot be asked."""
        listed = self.run("stack", "ls", "--json", quiet=True, check=False)
        return (
            [str(one["name"]) for one in json.loads(listed.stdout or "[]")] if listed.returncode == 0 else []
        )

    def up(self, *words: str, quiet: bool = False) -> None:
        """Run `pulumi up` without confirmation. ``words``: further options. If there is an ssh agent, only the keys that the settings name are offered."""
        given = ("up", *self.configured, "--yes", "--skip-preview", "--suppress-outputs", *words)
        config = self.config() if "SSH_AUTH_SOCK" in self.environment else {}
        with offer_named_keys(self.environment, config) as environment:
            self.run(*given, quiet=quiet, environment=environment)

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        """The outputs of the last `pulumi up`. Secrets are shown in plain text with ``secrets``, otherwise as `[secret]`."""
        words = ["stack", "output", "--json", *self.named, *(["--show-secrets"] if secrets else [])]
        outputs: dict[str, Any] = json.loads(self.run(*words, quiet=True).stdout)
        return outputs

    def config(self) -> dict[str, Any]:
        """This project's settings by name without ``lastcopy:``, **secrets in plain text**, as the engine itself reads them.

        This includes another settings file and Pulumi ESC environments. Plain values are strings, also numbers and booleans.
        """
        listed = self.run("config", "--json", "--show-secrets", *self.configured, quiet=True).stdout
        return {
            name.removeprefix(PROJECT): entry.get("objectValue", entry.get("value"))
            for name, entry in json.loads(listed).items()
            if name.startswith(PROJECT)
        }

    @property
    def _backend(self) -> str:
        """Where the engine looks: a wrong backend is the most common reason why a stack is not found. A user's name and password are not shown."""
        backend = self.environment.get("PULUMI_BACKEND_URL", "")
        return backend if re.fullmatch(r"[a-z0-9]+://[^@]*", backend) else "that `pulumi whoami -v` shows"


class LocalStack(Stack):
    """A stack in the checkout's own home: state, passphrase and engine are in ``.local``; the shell's backend and credentials are not used."""

    def __init__(self, root: Path, name: str, config_file: Path | None = None) -> None:
        super().__init__(root, name, toolchain.engine_environment(root), config_file)

    @property
    def _state(self) -> Path:
        return self.root / ".local" / "state"

    def exists(self) -> bool:
        listed = json.loads(self.run("stack", "ls", "--json", quiet=True).stdout)
        return any(stack["name"].rsplit("/", 1)[-1] == self.name for stack in listed)

    def others(self) -> list[str]:
        """The other stacks of this home. Removed stacks leave only their history, which does not count."""
        found = (self._state / ".pulumi" / "stacks").glob("**/*.json")
        return sorted(path.stem for path in found if path.stem != self.name)

    def create(self, template: Path) -> None:
        """Make the stack from a settings template. An existing stack or settings file is kept."""
        self._state.mkdir(parents=True, exist_ok=True)
        if not self.file.exists():
            shutil.copyfile(template, self.file)
        if not self.exists():
            self.run("stack", "init", self.name, "--secrets-provider", "passphrase", quiet=True)

    def forget_dead_runs(self) -> None:
        """Release the state's lock if the run that took it is dead and was on this machine; the lock of a live run is kept."""
        locks = list((self._state / ".pulumi" / "locks").glob(f"**/{self.name}/*.json"))
        holders = [json.loads(lock.read_text()) for lock in locks]
        here = socket.gethostname()
        if holders and all(h["hostname"] == here and not Path(f"/proc/{h['pid']}").exists() for h in holders):
            self.run("cancel", self.name, "--yes", quiet=True)

    def destroy(self) -> None:
        """Run `pulumi destroy` without confirmation."""
        self.run("destroy", *self.configured, "--yes", "--skip-preview")


def choose_stack(
    root: Path, name: str | None, *, sandbox: Path | None = None, config_file: Path | None = None
) -> Stack:
    """The stack that a verb works on. ``sandbox``: the local stack's folder, `.local/sandbox/NAME`; its name is then the default stack name."""
    if sandbox is not None:
        return LocalStack(root, name or sandbox.resolve().name, config_file)
    return Stack.of_shell(root, name, config_file)
