"""restic over rclone: the path ends with a slash, so that rclone never takes it for a file and serves the folder above (tests/gates/test_first_look.py)."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from ops.kit.kit import commands
from ops.restic.repository import Repository, Tools
from ops.storage.access import Access, RepositoryRecord, StorageKey, StorageLocation

WHERE = StorageLocation(
    endpoint="https://s3.example.com", region="us-east-1", bucket="backups", prefix="offsite"
)
KEY = StorageKey(access_key_id="AKIAEXAMPLE", secret_access_key=SecretStr("not-a-secret-of-anybody"))


def test_recovery_names_the_folder_with_its_trailing_slash() -> None:
    access = Access(
        where=WHERE, record=RepositoryRecord(name="web1"), key=KEY, password=SecretStr("a password")
    )
    tools = Tools(restic=Path("/restic"), rclone=Path("/rclone"))
    now = Repository(access=access, tools=tools, folder=Path("/f"), served=None, key_hint=None)
    words = now.words("snapshots")
    assert words[words.index("-r") + 1] == "rclone:vault:backups/offsite/web1/g1/"


def test_the_kits_commands_do_so_too() -> None:
    assert "RESTIC_REPOSITORY=rclone:vault:backups/offsite/NAME/g1/ " in "\n".join(commands(WHERE, ()))
