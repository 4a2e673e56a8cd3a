"""What takes a guarantee away on the running stack, and puts it back whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from attack_drill.model import Outcome, Result
from components.vault.identities.identity_policy import identity_policy
from sandbox import Sandbox
from sandbox.bucket import _admin
from tests.drill.conftest import Stage

SERVE = "/usr/local/lib/lastcopy/serve-restic"
DROP_IN = "/etc/ssh/sshd_config.d/10-lastcopy.conf"
KEYS = "/etc/ssh/lastcopy/keys"
BUCKET = "backups"
NO_APPEND_ONLY = "/^confined .*serve restic/s/--append-only//"


def broken(result: Result) -> set[str]:
    """What was tried and succeeded."""
    return {one.tried for one in result.findings if one.outcome is Outcome.BROKEN}


@contextmanager
def changed(stage: Stage, machine: str, file: str, sed: str) -> Iterator[None]:
    """A file on a machine, weakened by a line of sed, which must change something; put back afterwards, and sshd asked to take that."""
    kept = f"/root/kept{file.replace('/', '-')}"
    stage.machines.shell(
        machine, f"cp -a {file} {kept} && sed -i -E '{sed}' {file} && ! cmp -s {file} {kept}"
    )
    try:
        yield
    finally:
        stage.machines.shell(machine, f"cp -a {kept} {file} && rm {kept}")
        if file == DROP_IN:
            stage.machines.shell(machine, "systemctl restart ssh")


def reload(stage: Stage) -> None:
    """sshd takes what was changed; `changed` takes it back."""
    stage.machines.shell("relay", "sshd -t && systemctl restart ssh")


@contextmanager
def no_layers(stage: Stage) -> Iterator[None]:
    """Neither the keys' options, nor sshd's rule, nor the login shells, nor the firewall, and every variable is let in.

    The firewall would come back by its own timer within a minute, so that stops as well, with a run of it that is under way.
    """
    lines = f"/^Match User bk/,/^$/d; /^Allow.*Forwarding/d; /^X11Forwarding/d; 1i AcceptEnv *\\nAuthorizedKeysFile {KEYS}/%u .ssh/authorized_keys"
    keep = f'rm -rf /root/kept-keys && cp -a {KEYS} /root/kept-keys && sed -i \'s/^restrict,command="[^"]*" //\' {KEYS}/bk-*'
    shells = "for n in $(getent passwd | grep -o '^bk-[^:]*'); do usermod --shell {} $n 2>/dev/null || chsh -s {} $n; done"
    with changed(stage, "relay", DROP_IN, lines):
        stage.machines.shell(
            "relay",
            f"{keep}; {shells.format('/bin/sh', '/bin/sh')}; systemctl stop lastcopy-storage.timer lastcopy-storage.service; nft delete table inet lastcopy",
        )
        try:
            yield
            tables = stage.machines.shell("relay", "nft list tables").stdout
            assert "table inet lastcopy\n" not in tables, (
                f"the firewall came back during the sabotage: {tables}"
            )
        finally:
            back = f"cp -a /root/kept-keys/. {KEYS}/ && rm -r /root/kept-keys; {shells.format(SERVE, SERVE)}"
            back += "; systemctl restart lastcopy-firewall.service; systemctl start lastcopy-storage.timer"
            stage.machines.shell("relay", back)


@contextmanager
def wide_identity(stage: Stage, source: str = "web1") -> Iterator[None]:
    """The source's storage identity may do anything to the bucket."""
    key = stage.ground.thief(source).access_key_id
    everything = {
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    }
    _policy(stage, key, {"Version": "2012-10-17", "Statement": [everything]})
    try:
        yield
    finally:
        _policy(stage, key, identity_policy(BUCKET, f"{source}/"))


def _policy(stage: Stage, key: str, document: dict[str, object]) -> None:
    box = Sandbox(stage.machines.directory)
    with box.storage_admin() as (origin, _, _, _):
        admin = _admin(box.storage_folder, origin)
        admin.policy_add(f"source-{key}", policy=document)
        assert json.loads(admin.policy_info(f"source-{key}")), "the storage took the policy"
