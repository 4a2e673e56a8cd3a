"""Two safeguards against replacing a production vault: the stack's own last outputs, and the engine's `protect`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolchain.checkout import ROOT

from .stack import Stack

READS = """
from components.settings.last_run import read_last_vault

pathlib.Path(there, "seen").write_text(json.dumps(dict(read_last_vault())))
pulumi.export("vault", {"bucket": given["bucket"], "purpose": "production"})
pulumi.export("passwords", {"web1": secret("a-password-of-web1")})
"""


@pytest.fixture
def stack(stack: Stack) -> Stack:
    stack.environ["PYTHONPATH"] = str(ROOT)
    return stack


def test_a_run_sees_the_outputs_of_the_previous_run(stack: Stack, there: Path) -> None:
    def seen() -> object:
        return json.loads((there / "seen").read_text())  # the engine does not keep the order of keys

    told = stack.up(READS, {"bucket": "first"})
    assert seen() == {}, "a new stack has no outputs yet"
    told += stack.preview(READS, {"bucket": "second"})
    assert seen() == {"bucket": "first", "purpose": "production"}
    told += stack.up(READS, {"bucket": "third"})
    assert seen() == {"bucket": "first", "purpose": "production"}, "a preview leaves nothing"
    stack.pulumi("refresh", "--yes")
    stack.unchanged()
    assert seen() == {"bucket": "third", "purpose": "production"}
    assert "a-password-of-web1" not in told + stack.state()


REPLACES = """
import pulumi_random as random
vault = random.RandomId("vault", byte_length=given["size"], opts=pulumi.ResourceOptions(protect=True))
random.RandomId("other", byte_length=4, keepers={"of": "vault"})
"""


def test_a_protected_resource_is_not_replaced_and_the_preview_says_so(stack: Stack) -> None:
    stack.up(REPLACES, {"size": 4})
    before = stack.resources()["vault"]["id"]
    stack.program(REPLACES, {"size": 8})
    preview = stack.pulumi("preview", check=False)
    assert preview.returncode != 0
    assert "as it is currently marked for protection" in preview.stdout
    assert "as it is currently marked for protection" in stack.fails(REPLACES, {"size": 8})
    assert stack.resources()["vault"]["id"] == before
