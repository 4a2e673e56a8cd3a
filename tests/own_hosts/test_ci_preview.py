"""docs/ci/preview.sh on a real stack: with only backend and passphrase it shows what would change, and writes the comment."""

from __future__ import annotations

import re

from tests.own_hosts.conftest import SECRET_KEY, OwnHosts


def test_a_change_of_a_source_is_shown_without_secrets(own: OwnHosts) -> None:
    own.shell.run("cp stacks/Pulumi.prod.yaml ~/before.yaml").ok()
    own.shell.run("pulumi config set --path 'lastcopy:sources[0].exclude[0]' '*.iso'").ok()
    done = own.shell.run("sh docs/ci/preview.sh prod ~/preview.md").ok()
    own.shell.run("cp ~/before.yaml stacks/Pulumi.prod.yaml").ok()
    comment = (own.home / "preview.md").read_text()
    assert comment.startswith("**`pulumi preview` of `prod`**\n")
    assert "*.iso" in comment
    assert re.search(r"~ \d+ to update", comment), comment[-500:]
    password = own.on("own-web1", "cat /etc/lastcopy/password").strip()
    assert not [secret for secret in (password, SECRET_KEY) if secret in comment + done.out + done.err]


def test_a_mistake_in_the_stack_file_fails_and_is_in_the_comment(own: OwnHosts) -> None:
    own.shell.run("cp stacks/Pulumi.prod.yaml ~/before.yaml").ok()
    own.shell.run("pulumi config set --path 'lastcopy:sources[0].schedul' daily").ok()
    done = own.shell.run("sh docs/ci/preview.sh prod ~/preview.md")
    own.shell.run("cp ~/before.yaml stacks/Pulumi.prod.yaml").ok()
    assert done.code not in (0, None)
    assert "failed (exit status" in (own.home / "preview.md").read_text()
    assert "schedul" in (own.home / "preview.md").read_text()
