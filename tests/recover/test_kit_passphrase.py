"""A kit encrypted with a passphrase, at its real cost. Tests that do not need the cost: tests/unit/ops/kit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.stack import Stack
from tests.unit.ops.kit.test_kit import OUTPUTS, ops, secret_file


@pytest.fixture(autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "of_shell", lambda root, name, _: Stack(root, name, {}))
    monkeypatch.setattr(Stack, "outputs", lambda *_, **__: OUTPUTS)


def test_the_passphrase_that_encrypted_the_kit_opens_it(tmp_path: Path) -> None:
    """At its real cost: about a second of work on this machine, once to encrypt and once to decrypt."""
    phrase = secret_file(tmp_path / "phrase", "six random words written on paper\n")
    out = tmp_path / "kit.age"
    code, said = ops("kit", "write", "--stack", "prod", "--out", str(out), "--passphrase-file", phrase)
    assert code == 0, said
    work = re.search(rb"^-> scrypt \S+ (\d+)$", out.read_bytes(), re.MULTILINE)
    assert work is not None
    assert int(work[1]) > 10, "more than the library's minimum: guessing costs an attacker as much"
    assert ops("kit", "show", "--kit", str(out), "--passphrase-file", phrase)[0] == 0
