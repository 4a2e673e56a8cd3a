"""An admin account from a directory (LDAP, sssd): not in /etc/passwd, with a key from a program that sshd calls, and a home that does not exist yet.

The directory is systemd's own user database, which glibc asks in the same way as sssd: by NSS, after the files.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.scripts.relay.chain import Answer, Chain, Step
from tests.scripts.relay.test_lockout import LIVE

NAME = "first.last@corp.example"
UID = 61001
RECORD = {
    "userName": NAME, "uid": UID, "gid": UID, "realName": "First Last", "homeDirectory": "/home/of-the-directory",
    "shell": "/bin/bash", "disposition": "regular",
}  # fmt: skip
KEYS = """#!/bin/sh
# As sss_ssh_authorizedkeys: root's alone to change, asked as nobody.
[ "$(id -un)" = nobody ] && [ "$1" = "{name}" ] && echo "{key}"
"""


@pytest.fixture
def directory(changing: Chain) -> Iterator[Chain]:
    """The relay's host with an admin that only the directory knows."""
    key = changing.box.admin_key.with_name("admin_ed25519.pub").read_text().strip()
    files = {
        f"/run/userdb/{NAME}.user": json.dumps(RECORD),
        f"/run/userdb/{NAME}.group": json.dumps({"groupName": NAME, "gid": UID}),
        "/usr/local/sbin/keys-of-directory": KEYS.format(name=NAME, key=key),
        "/etc/ssh/sshd_config.d/50-directory.conf": "AuthorizedKeysCommand /usr/local/sbin/keys-of-directory\n"
        "AuthorizedKeysCommandUser nobody\n",
        "/etc/sudoers.d/directory": f"{NAME} ALL=(ALL) NOPASSWD: ALL\n",
    }
    changing.sh(
        f"mkdir -p /run/userdb; rm {LIVE}"
    )  # before the first run, with the account that logs in there
    for path, text in files.items():
        changing.root("sh", "-c", f"cat >'{path}'", stdin=text)
    changing.sh(
        f"chmod 755 /usr/local/sbin/keys-of-directory; cd /run/userdb; ln -sf '{NAME}.user' {UID}.user;"
        f" ln -sf '{NAME}.group' {UID}.group; systemctl restart ssh"
    )
    try:
        yield changing
    finally:
        changing.sh(
            f"gpasswd -d '{NAME}' lastcopy-admins || true; rm -rf {' '.join(files)} /run/userdb/{UID}.*; systemctl restart ssh"
        )


def dial(chain: Chain, line: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [*chain.ssh_argv(NAME, chain.box.admin_key), line]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=120)


def send(chain: Chain, step: Step, mode: str = "apply") -> Answer:
    """Send it as the engine does for ``admin.user: first.last@corp.example``."""
    done = dial(chain, f'exec sudo -n timeout -k 10 300 /bin/sh -s -- {mode} "$SSH_CONNECTION"', step.text())
    last = done.stdout.strip().splitlines()[-1:] or ["{}"]
    return Answer(done.returncode, json.loads(last[0]), done.stderr)


def test_an_admin_from_a_directory_sets_up_the_relay_and_can_log_in_afterwards(directory: Chain) -> None:
    assert directory.root("getent", "-s", "files", "passwd", NAME).returncode == 2
    apply, confirm = (directory.sshd(phase, admin_user=NAME) for phase in ("apply", "confirm"))

    # Not every answer of the directory counts as a key: a type that the new rules refuse would lock the admin out.
    program = "/usr/local/sbin/keys-of-directory"
    directory.sh(f"cp -p {program} {program}.keep; sed -i 's/ssh-ed25519/ecdsa-sha2-nistp256/' {program}")
    refused = directory.root("sh", "-s", "--", "apply", "203.0.113.1 1 2 22", stdin=apply.text())
    assert refused.returncode == 1
    assert f"{NAME} has no authorized key of an accepted kind" in refused.stderr
    directory.sh(f"mv {program}.keep {program}")

    for step in (apply, confirm):
        done = send(directory, step)
        assert done.code == 0, done.words
    assert send(directory, apply).changed == []
    assert dial(directory, "sudo -n id -u").stdout == "0\n"
    assert directory.root("test", "-e", str(RECORD["homeDirectory"])).returncode == 1


def asks(chain: Chain, server: str) -> bool:
    """Whether root may send to this address and port; a packet that the firewall drops is an error at once."""
    address, port = server.rsplit(":", 1)
    return chain.root("bash", "-c", f"echo x >/dev/udp/{address}/{port}").returncode == 0


def test_the_directorys_servers_stay_reachable_and_an_admin_from_there_is_refused_without_them(
    changing: Chain,
) -> None:
    server = f"{changing.storage['endpoint'].removeprefix('https://').split(':')[0]}:88"
    assert not asks(changing, server)
    for phase in ("apply", "confirm"):
        changing.apply(changing.firewall(phase, directory=[server]))
    assert asks(changing, server)
    assert not asks(changing, server.replace(":88", ":89"))
    # The account that logs in is known only to sssd.
    fake = '#!/bin/sh\n[ "$1 $2 $3" != "-s sss passwd" ] || exit 0\n[ "$1 $2 $3" != "-s files passwd" ] || exit 2\nexec /usr/bin/getent "$@"\n'
    changing.root("sh", "-c", "cat >/usr/sbin/getent; chmod 755 /usr/sbin/getent", stdin=fake)
    try:
        refused = changing.run(changing.firewall())
        assert refused.code == 1
        assert "the admin account admin comes from a directory (sss)" in refused.words
        assert "lastcopy:intermediate.existing.directory" in refused.words
    finally:
        changing.sh("rm /usr/sbin/getent")
