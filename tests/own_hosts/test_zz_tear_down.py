"""The last section of docs/own-hosts.md, run as written: what is removed, and what is kept."""

from __future__ import annotations

import json

from tests.doc_shell import blocks, commands
from tests.own_hosts.conftest import BUCKET, OwnHosts
from toolchain.checkout import ROOT

KEPT = (
    "cat /etc/lastcopy/password && test -s /etc/lastcopy/id_ed25519 && test -s /var/lib/lastcopy/status.json"
)
LEFT = "systemctl list-unit-files --no-legend 'lastcopy*' | cut -d ' ' -f 1"


def test_the_documented_tear_down_removes_the_stack_and_keeps_the_backups(own: OwnHosts) -> None:
    listing = f"aws s3api list-object-versions --bucket {BUCKET} --prefix web1/g1/ --query 'length(Versions)'"
    before = int(own.shell.run(listing).ok().out)
    assert before > 0
    (block,) = blocks(ROOT / "docs" / "own-hosts.md", "## Tear-down")
    said = [own.shell.run(command).ok() for command in commands(block)]
    password = json.loads(said[0].out)["web1"]
    assert own.on("own-web1", KEPT).strip() == password
    assert own.on("own-web1", LEFT).split() == []
    assert own.on("own-relay", "getent passwd bk-web1 || echo gone").strip() == "gone"
    assert (own.checkout / "stacks" / "Pulumi.prod.yaml").exists()
    assert json.loads(own.shell.run("pulumi stack ls --json").ok().out) == []
    assert int(own.shell.run(listing).ok().out) >= before
