"""Removes a protection of the running stack for a while, and restores it in any case."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components.host import program_texts
from components.vault.identities.identity_policy import identity_policy
from sandbox import Sandbox
from sandbox.bucket import _admin
from tests.drill.conftest import Stage
from tests.sabotage import weaken

SERVE = "/usr/local/lib/lastcopy/serve-restic"
DROP_IN = "/etc/ssh/sshd_config.d/10-lastcopy.conf"
KEYS = "/etc/ssh/lastcopy/keys"
NO_APPEND_ONLY = "/^confined .*serve restic/s/--append-only//"
SOURCES = ("web1", "db1")


# --- in the row ---


def without_parts(monkeypatch: pytest.MonkeyPatch, row: ModuleType, *parts: str) -> None:
    """Leave out slow parts of a row that the weakening does not concern: `test_the_row_holds` plays them."""
    for part in parts:
        assert callable(getattr(row, part)), part
        monkeypatch.setattr(row, part, lambda *_, **__: iter(()))


# --- on a host ---


@contextmanager
def done_to(stage: Stage, machine: str, weaken: str, restore: str) -> Iterator[None]:
    """Run a shell command on a machine, not by SSH, and afterwards the command that undoes it."""
    try:
        stage.machines.shell(machine, weaken)
        yield
    finally:
        stage.machines.shell(machine, restore)


@contextmanager
def edited(stage: Stage, machine: str, file: str, sed: str) -> Iterator[None]:
    """Edit a file on a machine with sed, which must change something. sshd is restarted when its drop-in is restored."""
    kept = f"/root/kept{file.replace('/', '-')}"
    weaken = f"cp -a {file} {kept} && sed -i -E '{sed}' {file} && ! cmp -s {file} {kept}"
    restore = f"cp -a {kept} {file} && rm {kept}"
    with done_to(
        stage, machine, weaken, f"{restore} && systemctl restart ssh" if file == DROP_IN else restore
    ):
        yield


def restart_sshd(stage: Stage) -> None:
    """Make the relay's sshd use an edited drop-in."""
    stage.machines.shell("relay", "sshd -t && systemctl restart ssh")


@contextmanager
def no_layers(stage: Stage) -> Iterator[None]:
    """Remove the keys' options, sshd's rules, the login shells and the firewall, and accept every environment variable.

    The firewall's timer, which would load it again within a minute, is stopped as well, with a run of it that is under way.
    """
    lines = f"/^Match User bk/,/^$/d; /^Allow.*Forwarding/d; /^X11Forwarding/d; 1i AcceptEnv *\\nAuthorizedKeysFile {KEYS}/%u .ssh/authorized_keys"
    keep = f'rm -rf /root/kept-keys && cp -a {KEYS} /root/kept-keys && sed -i \'s/^restrict,command="[^"]*" //\' {KEYS}/bk-*'
    shells = "for n in $(getent passwd | grep -o '^bk-[^:]*'); do usermod --shell {} $n 2>/dev/null || chsh -s {} $n; done"
    weaken = f"{keep}; {shells.format('/bin/sh', '/bin/sh')}; systemctl stop lastcopy-storage.timer lastcopy-storage.service; nft delete table inet lastcopy"
    restore = f"cp -a /root/kept-keys/. {KEYS}/ && rm -r /root/kept-keys; {shells.format(SERVE, SERVE)}"
    restore += "; systemctl restart lastcopy-firewall.service; systemctl start lastcopy-storage.timer"
    with edited(stage, "relay", DROP_IN, lines), done_to(stage, "relay", weaken, restore):
        yield
        tables = stage.machines.shell("relay", "nft list tables").stdout
        assert "table inet lastcopy\n" not in tables, f"the firewall came back during the sabotage: {tables}"


# --- in the program ---


def scripts_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *edits: tuple[str, str, str]) -> None:
    """Weaken some of the program's scripts (file, old text, new text) for as long as the test runs."""
    folder = tmp_path / "components"
    shutil.copytree(program_texts.COMPONENTS, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for file, old, new in edits:
        [script] = folder.rglob(file)
        text = script.read_text()
        script.write_text(weaken(text, old, new))
    monkeypatch.setattr(program_texts, "COMPONENTS", folder)


# --- in the storage ---


def everything(bucket: str) -> dict[str, Any]:
    """A statement that allows every call on a bucket."""
    of_bucket = f"arn:aws:s3:::{bucket}"
    return {"Effect": "Allow", "Action": ["s3:*"], "Resource": [of_bucket, f"{of_bucket}/*"]}


@contextmanager
def replaced_policy(stage: Stage, source: str, document: Mapping[str, Any]) -> Iterator[None]:
    """Replace the policy of a source's storage identity."""
    box, where = Sandbox(stage.machines.directory), stage.drill.where
    key = stage.drill.stolen_key(source).access_key_id

    def put(policy: Mapping[str, Any]) -> None:
        with box.storage_admin() as (origin, *_):
            admin = _admin(box.storage_folder, origin)
            admin.policy_add(f"source-{key}", policy=policy)
            assert json.loads(admin.policy_info(f"source-{key}")), "the storage has no policy"

    put(document)
    try:
        yield
    finally:
        put(identity_policy(where.bucket, own_prefix(stage, source)))


def own_prefix(stage: Stage, source: str) -> str:
    return f"{stage.drill.where.prefix}/{source}/".lstrip("/")


@contextmanager
def wide_identity(stage: Stage, source: str = "web1") -> Iterator[None]:
    """Let a source's storage identity do anything with the bucket."""
    bucket = stage.drill.where.bucket
    with replaced_policy(stage, source, {"Version": "2012-10-17", "Statement": [everything(bucket)]}):
        yield


@contextmanager
def wider_policy(
    stage: Stage, source: str, *more: Mapping[str, Any], prefix: str | None = None
) -> Iterator[None]:
    """Give a source's storage identity further statements, or another prefix."""
    own = own_prefix(stage, source)
    document = identity_policy(stage.drill.where.bucket, own)
    statements = document["Statement"]
    if prefix is not None:
        # The whole bucket is a prefix that the renderer itself refuses.
        statements = [_elsewhere(one, own, prefix) for one in statements]
    with replaced_policy(stage, source, {**document, "Statement": [*statements, *more]}):
        yield


def _elsewhere(statement: Mapping[str, Any], own: str, prefix: str) -> dict[str, Any]:
    found = dict(statement)
    found["Resource"] = [one.replace(f"/{own}", f"/{prefix}") for one in statement["Resource"]]
    if "Condition" in statement:
        found["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}*"]}}
    return found


@contextmanager
def weaker_bucket(stage: Stage, *, lock: str | None) -> Iterator[None]:
    """Point both sources' entries and the judging storage admin at a bucket where the identities may do everything.

    ``lock`` is its lock mode; None for a bucket without versions.
    """
    storage = stage.drill.require_storage()
    real, name = storage.where, f"weak-{secrets.token_hex(4)}"

    def make(s3: Any) -> None:
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock is not None)
        if lock:
            rule = {"DefaultRetention": {"Mode": lock, "Days": 1}}
            s3.put_object_lock_configuration(
                Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
            )
        for source in SOURCES:
            s3.put_object(Bucket=name, Key=f"{source}/g1/config", Body=b"config")

    storage.call(make)
    with ExitStack() as undone:
        for source in SOURCES:
            undone.enter_context(wider_policy(stage, source, everything(name)))
            conf = f"/etc/lastcopy/relay/{source}/serve.conf"
            sed = f"s#arg lastcopy:{real.bucket}/#arg lastcopy:{name}/#"
            undone.enter_context(edited(stage, "relay", conf, sed))
        storage.where = real.model_copy(update={"bucket": name})
        try:
            yield
        finally:
            storage.where = real
