"""The user data of a machine on AWS: whatever a value contains, it is passed on unchanged, or refused (A1, A2)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.aws.first_host_key import first_key
from components.aws.user_data import HEAD, UserDataPlan, user_data
from tests.unit.recording import SAMPLE_KEY
from tests.unit.relay.test_no_injection import KEYS, NASTY

SEED = "a-seed-that-is-long-enough-for-a-key"
KEY = first_key(SEED)


def plan(**changes: Any) -> UserDataPlan:
    asked = {"first_key": KEY, "admin_user": "admin", "admin_public_key": SAMPLE_KEY, "architecture": "arm64"}
    return UserDataPlan(**{**asked, **changes})


PLAIN = yaml.safe_load(user_data(plan(ssm_region="eu-central-1")))


def as_plain(config: dict[str, Any]) -> dict[str, Any]:
    """With the values of the plain one in the places where values stand."""
    config["users"][0] |= {k: PLAIN["users"][0][k] for k in ("name", "ssh_authorized_keys")}
    return config


@given(
    admin=NASTY,
    key=KEYS,
    comment=NASTY,
    region=NASTY,
    architecture=st.sampled_from(["arm64", "amd64"]),
)
def test_user_data_gains_no_key_and_no_command(
    admin: str, key: str, comment: str, region: str, architecture: str
) -> None:
    try:
        text = user_data(
            plan(
                admin_user=admin,
                admin_public_key=f"{key} {comment}",
                ssm_region=region,
                architecture=architecture,
            )
        )
    except ValueError:
        return
    assert as_plain(yaml.safe_load(text)) == PLAIN


@given(name=st.from_regex(r"[a-z_][a-z0-9_-]{0,31}", fullmatch=True), key=KEYS, comment=NASTY)
def test_values_are_passed_on_unchanged(name: str, key: str, comment: str) -> None:
    """Even a name that YAML would read as something else: `no`, `null`, `on`."""
    line = f"{key} {comment}".rstrip() if comment.isprintable() and comment.isascii() else key
    try:
        text = user_data(plan(admin_user=name, admin_public_key=line))
    except ValueError:
        return
    config = yaml.safe_load(text)
    assert config["users"][0]["name"] == name
    assert config["users"][0]["ssh_authorized_keys"] == [line]
    assert config["ssh_keys"]["ecdsa_private"] == KEY.private
    assert text.startswith(HEAD)


@pytest.mark.parametrize("name", ["no", "null", "on", "y", "true", "_"])
def test_a_name_stays_text(name: str) -> None:
    assert yaml.safe_load(user_data(plan(admin_user=name)))["users"][0]["name"] == name


def test_a_key_with_a_line_end_is_refused() -> None:
    for tail in ("\nruncmd: [reboot]", "\n", "\r\nx", "\u2028x", "\x85x"):
        with pytest.raises(ValueError, match="line break or a control character"):
            plan(admin_public_key=SAMPLE_KEY + tail)


def test_more_than_ec2_accepts_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the 16384 that EC2 takes"):
        user_data(plan(admin_public_key=SAMPLE_KEY + " " + "x" * 20000))


# the first key


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=32, max_size=64))
def test_a_seed_always_makes_the_same_key(seed: str) -> None:
    assert first_key(seed) == first_key(seed)
    assert first_key(seed).public != first_key(seed + "x").public


def test_the_first_key_is_accepted_by_openssh(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(KEY.private)
    done = subprocess.run(["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == KEY.public.split()
    assert KEY.public.startswith("ecdsa-sha2-nistp256 ")


def test_a_short_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="32 or more"):
        first_key("short")
