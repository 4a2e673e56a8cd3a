"""Small programs around single components, for tests without machines: run by the real engine, with the real AWS provider if it is installed.

The real provider is used if a Pulumi installation of this machine has exactly the SDK's version; like the double it then talks to
moto, by AWS_ENDPOINT_URL. It is never downloaded for a test. Otherwise the double is used.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from importlib import metadata
from pathlib import Path
from typing import Any

import toolchain
from tests.aws.world import ACCOUNT, REGION, Moto, aws_environment, install_double
from tests.conformance.stack import Stack
from toolchain.checkout import ROOT

PRELUDE = f"""\
import json, pathlib, pulumi, pulumi_aws
given = json.loads(pathlib.Path("given.json").read_text())
provider = pulumi_aws.Provider("aws", region="{REGION}", allowed_account_ids=[given.get("account", "{ACCOUNT}")])
there = pulumi.ResourceOptions(providers=[provider])

"""


def real_plugin() -> Path | None:
    """The official provider, if this machine's own Pulumi has it."""
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    program = home / "plugins" / f"resource-aws-v{metadata.version('pulumi_aws')}" / "pulumi-resource-aws"
    return program if os.access(program, os.X_OK) else None


def engine(account: Moto, folder: Path) -> dict[str, str]:
    """The environment of an engine with its own home."""
    environ = toolchain.engine_environment(folder)
    plugins, real = Path(environ["PULUMI_HOME"]), real_plugin()
    if real is None:
        print("tests/aws: the double serves, no AWS provider of this version being here", file=sys.stderr)
        install_double(plugins)
    else:
        print(f"tests/aws: {real} serves, against moto", file=sys.stderr)
        place = plugins / "plugins" / real.parent.name
        place.mkdir(parents=True)
        (place / real.name).symlink_to(real)
    return {**environ, **aws_environment(account, folder), "PYTHONPATH": str(ROOT)}


class Program(Stack):
    """A stack whose program is written by the test."""

    def program(self, text: str, given: dict[str, Any]) -> None:
        super().program("", given)
        (self.folder / "__main__.py").write_text(PRELUDE + textwrap.dedent(text))

    def copy(self, folder: Path) -> Program:
        shutil.copytree(self.folder, folder)
        return Program(folder, self.environ, {})
