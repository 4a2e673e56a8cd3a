"""The kit: its contents, who can open it, what the page shows, and that nothing is written in plain text or over something else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.errors import LastcopyError
from ops.kit.kit import make_kit, parse
from ops.kit.page import render_page
from ops.stack import Stack
from ops.storage.access import read_storage_key
from tests.unit.ops.kit.test_age import IDENTITY, QUICK_BY_PASSPHRASE, RECIPIENT

PASSWORD = "a-password-of-the-stack-0123"
SECRET = "storage-secret-0123456789"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample"
OUTPUTS: dict[str, Any] = {
    "vault": {
        "endpoint": "https://s3.example.com",
        "region": "eu-central-1",
        "bucket": "example-backups",
        "prefix": "team",
        "provider": "AWS",
    },
    "relay": {"address": "relay.example.com", "port": 22, "user": "admin", "hostKey": KEY, "later": "unknown to this kit"},
    "sources": {
        "web1": {
            "managed": True, "publicKey": KEY, "hostKey": KEY, "repositoryId": "ab" * 32, "keyId": "cd" * 32,
            "generation": 2, "schedule": "daily",
        },
        "ext1": {
            "managed": False, "publicKey": KEY, "hostKey": None, "repositoryId": None, "keyId": None,
            "generation": 1, "schedule": "daily",
        },
    },
    "passwords": {"web1": PASSWORD, "ext1": "another-password-0123456"},
    "enrolmentScripts": {},
}  # fmt: skip
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "of_shell", lambda root, name, _: Stack(root, name, {}))
    monkeypatch.setattr(Stack, "outputs", lambda *_, **__: OUTPUTS)


def secret_file(path: Path, text: str) -> str:
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def ops(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def written(tmp_path: Path, *words: str) -> tuple[Path, str]:
    """A kit for the age recipient, with the storage key in it."""
    out = tmp_path / "kit.age"
    key = secret_file(tmp_path / "key", f"AWS_ACCESS_KEY_ID=AKIAEXAMPLE\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
    code, said = ops(
        "kit", "write", "--stack", "prod", "--out", str(out), "--recipient", RECIPIENT, "--storage-key", key, *words,
    )  # fmt: skip
    assert code == 0, said
    return out, said


def test_a_kit_contains_everything_for_a_recovery_and_opens_with_the_identity(tmp_path: Path) -> None:
    out, said = written(tmp_path)
    assert PASSWORD not in said
    assert PASSWORD.encode() not in out.read_bytes()
    assert out.stat().st_mode & 0o777 == 0o600
    identity = secret_file(tmp_path / "identity", f"# created: today\n{IDENTITY}\n")
    code, shown = ops("kit", "show", "--kit", str(out), "--identity", identity)
    assert code == 0, shown
    assert PASSWORD not in shown
    assert SECRET not in shown
    for fact in ("example-backups", "web1", "ext1", "0.19.1", "1.76.0", "ab" * 32, KEY):
        assert fact in shown
    code, all_ = ops("kit", "show", "--kit", str(out), "--identity", identity, "--secrets")
    assert code == 0
    kit = parse(all_, "test")
    access = kit.access("web1", None)
    assert access.path == "team/web1/g2"
    assert access.password.get_secret_value() == PASSWORD
    assert access.key.secret_access_key.get_secret_value() == SECRET
    assert any("--s3-version-at" in line for line in json.loads(all_)["commands"])


def test_the_page_contains_no_secret_unless_requested(tmp_path: Path) -> None:
    out, _ = written(tmp_path)
    paper = out.with_name("kit.age.html").read_text()
    for secret in (PASSWORD, SECRET, "another-password-0123456"):
        assert secret not in paper
    assert "cd" * 32 in paper
    assert "http://" not in paper
    assert "src=" not in paper
    out.unlink()
    asked = tmp_path / "asked.html"
    written(tmp_path, "--page", str(asked), "--page-with-secrets")
    assert PASSWORD in asked.read_text()
    assert SECRET in asked.read_text()
    assert asked.stat().st_mode & 0o777 == 0o600


def test_the_page_escapes_what_it_shows() -> None:
    kit = make_kit("<b>prod", OUTPUTS, {}, NOON, key=None, identities="ask <script>alert(1)</script>")
    assert "<script>" not in render_page(kit, "<i>.age")
    assert "<b>prod" not in render_page(kit, "<i>.age")


def test_a_wrong_passphrase_is_reported_and_not_repeated(tmp_path: Path) -> None:
    out = tmp_path / "kit.age"
    out.write_bytes(QUICK_BY_PASSPHRASE)
    other = secret_file(tmp_path / "other", "six other words written on paper\n")
    code, said = ops("kit", "show", "--kit", str(out), "--passphrase-file", other)
    assert code == 1
    assert "the passphrase or identity does not open it" in said
    assert "six other words" not in said


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    out, _ = written(tmp_path)
    before = out.read_bytes()
    code, said = ops("kit", "write", "--stack", "prod", "--out", str(out), "--recipient", RECIPIENT)
    assert code == 1
    assert "exists already" in said
    assert out.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".kit")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "say who may open the kit"),
        (["--recipient", RECIPIENT, "--passphrase-file", "PHRASE"], "say who may open the kit"),
        (["--recipient", RECIPIENT[:-1] + "q"], "not a recipient, or mistyped"),
        (["--recipient", "alice@example.com"], "not a recipient, or mistyped"),
        (["--recipient", RECIPIENT, "--recipient", "A" * 40], "cannot share one file"),
        (["--passphrase-file", "SHORT"], "the passphrase is too short"),
        (["--passphrase-file", "OPEN"], "can be read by others"),
        (["--recipient", RECIPIENT, "--storage-key", "SHORT"], "does not hold a storage key"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(
    tmp_path: Path, words: list[str], expected: str
) -> None:
    files = {
        "PHRASE": secret_file(tmp_path / "phrase", "six random words written on paper\n"),
        "SHORT": secret_file(tmp_path / "short", "tooshortbutsecret\n"),
        "OPEN": secret_file(tmp_path / "open", "six random words written on paper\n"),
    }
    (tmp_path / "open").chmod(0o644)
    given = [files.get(word, word) for word in words]
    out = tmp_path / "kit.age"
    code, said = ops("kit", "write", "--stack", "prod", "--out", str(out), *given)
    assert code == 1
    assert expected in said
    assert "tooshortbutsecret" not in said
    assert not out.exists()
    assert not (tmp_path / "kit.age.html").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 2}, "does not know the format of this kit"),
        ({"sources": []}, "sources"),
        ({"where": {"endpoint": "http://plain"}}, "where.endpoint"),
        ({"surprise": PASSWORD}, "surprise"),
        ({"stack": 7}, "stack"),
    ],
)
def test_a_kit_that_was_edited_is_refused_without_its_secrets(change: dict[str, Any], expected: str) -> None:
    raw = json.loads(make_kit("prod", OUTPUTS, {}, NOON, key=None).text()) | change
    with pytest.raises(LastcopyError, match=expected) as caught:
        parse(json.dumps(raw), "kit.age")
    assert PASSWORD not in str(caught.value)
    with pytest.raises(LastcopyError, match="not a recovery kit"):
        parse("[", "kit.age")


def test_a_kit_without_a_storage_key_says_how_to_get_one() -> None:
    kit = make_kit("prod", OUTPUTS, {}, NOON, key=None, identities="ask Ada for the red envelope")
    with pytest.raises(LastcopyError, match="ask Ada for the red envelope"):
        kit.access("web1", None)
    with pytest.raises(LastcopyError, match="one of: ext1, web1"):
        kit.access("\x1b[2J", None)


@pytest.mark.parametrize(
    "text",
    [
        f"AWS_ACCESS_KEY_ID=AKIAEXAMPLE\nAWS_SECRET_ACCESS_KEY={SECRET}\n",
        f"export AWS_ACCESS_KEY_ID='AKIAEXAMPLE'\nexport AWS_SECRET_ACCESS_KEY=\"{SECRET}\"\n",
        f"# local\nMINIO_ROOT_USER=AKIAEXAMPLE\nMINIO_ROOT_PASSWORD={SECRET}\nMINIO_BROWSER=off\n",
        json.dumps({"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": SECRET}),
        json.dumps(
            {"AccessKey": {"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": SECRET, "Status": "Active"}}
        ),
    ],
)
def test_storage_keys_are_read_in_all_usual_forms(tmp_path: Path, text: str) -> None:
    key = read_storage_key(secret_file(tmp_path / "key", text))
    assert (key.access_key_id, key.secret_access_key.get_secret_value()) == ("AKIAEXAMPLE", SECRET)
    assert SECRET not in repr(key)


def test_a_storage_key_that_rclone_would_misread_is_refused_without_being_repeated(tmp_path: Path) -> None:
    for secret in ("%(hidden)s-secret", '"quoted-secret-1', "ends-with-\\", "short"):
        text = json.dumps({"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": secret})
        file = tmp_path / "key"
        file.unlink(missing_ok=True)
        with pytest.raises(LastcopyError) as caught:
            read_storage_key(secret_file(file, text))
        assert secret not in str(caught.value)
