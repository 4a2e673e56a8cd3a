"""The relay's rendered files, as a reviewer reads them. After a wanted change: LASTCOPY_WRITE_GOLDEN=1 python -m pytest tests/unit/relay"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.aws.first_host_key import first_key
from components.aws.user_data import UserDataPlan, user_data
from components.relay.entry import rclone_config
from components.relay.entry import source_account_files as relay
from components.relay.firewall import endpoints, firewall_rules
from components.relay.sshd import sshd_config as sshd
from components.relay.sshd.sshd_config import SshdPlan
from components.settings import Limits
from components.storage.service_facts import ServiceName
from components.storage.services import SERVICES
from tests.unit.recording import SAMPLE_KEY

GOLDEN = Path(__file__).parent / "golden"


def plan(**changes: object) -> SshdPlan:
    return SshdPlan(**{"admin_user": "admin", "second_factor": "none", "listen_port": 22, **changes})  # type: ignore[arg-type]


def first_boot(**changes: Any) -> str:
    asked = {"admin_user": "admin", "admin_public_key": SAMPLE_KEY + " me@here", "architecture": "arm64"}
    return user_data(
        UserDataPlan(first_key=first_key("seed-of-the-golden-file-0123456789"), **{**asked, **changes})
    )


def rclone_conf(service: ServiceName) -> str:
    return rclone_config.s3_conf(
        uploads=SERVICES[service].uploads(),
        endpoint="https://198.51.100.3:9000",
        region="us-east-1",
        credentials_file=relay.credentials_file("web1"),
    )


def credentials(service: ServiceName) -> str:
    uploads = SERVICES[service].uploads()
    return rclone_config.s3_credentials(uploads=uploads, access_key_id="AKID", secret_access_key="s3cr3t")


TEXTS: dict[str, Callable[[], str]] = {
    "sshd-debian13.conf": lambda: sshd.drop_in(plan(), "10.0"),
    "sshd-debian12.conf": lambda: sshd.drop_in(plan(), "9.2"),
    "sshd-fido2.conf": lambda: sshd.drop_in(
        plan(admin_user="root", second_factor="fido2", listen_port=2222, trusted_networks=["203.0.113.0/24"]),
        "10.0",
    ),
    "sshd-totp.conf": lambda: sshd.drop_in(plan(second_factor="totp"), "10.0"),
    "sshd-expected.txt": lambda: (
        sshd.expected_of_everyone(plan(), "10.0") + "\n" + sshd.expected_of_sources()
    ),
    "firewall-address.nft": lambda: firewall_rules.firewall_rules(
        endpoints.s3_endpoints("https://198.51.100.3:9000", "backups"), 22
    ),
    "firewall-name.nft": lambda: firewall_rules.firewall_rules(
        endpoints.s3_endpoints("https://s3.example.net", "backups"), 2222
    ),
    "firewall-closed-metadata.nft": lambda: firewall_rules.firewall_rules(
        endpoints.s3_endpoints("https://s3.eu-central-1.amazonaws.com", "backups"), 22, "closed"
    ),
    "user-data-ssh.yaml": first_boot,
    "user-data-ssm.yaml": lambda: first_boot(ssm_region="eu-central-1", architecture="amd64"),
    "names.txt": lambda: endpoints.lookup_lines(endpoints.s3_endpoints("https://s3.example.net", "backups")),
    "authorized_keys": lambda: relay.authorized_key(
        "web1", SAMPLE_KEY + " root@web1", ["203.0.113.7", "2001:db8::/64"]
    ),
    "rclone-s3.conf": lambda: rclone_conf("AWS"),
    "rclone-s3-parts.conf": lambda: rclone_conf("Minio"),
    "rclone-s3-md5.conf": lambda: rclone_conf("Ceph"),
    "credentials": lambda: credentials("AWS"),
    "credentials-md5": lambda: credentials("Ceph"),
    "serve-s3.conf": lambda: relay.serve_conf(
        "web1",
        path=relay.storage_path("backups/offsite", "web1", 2),
        limits=Limits(),
        uploads=SERVICES["AWS"].uploads(),
        ca=True,
    ),
    "serve-sftp.conf": lambda: relay.serve_conf(
        "web1",
        path=relay.storage_path("srv/backups", "web1", 1),
        limits=Limits(sessions=2, hours=6),
        uploads=None,
        ca=False,
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_rendered_text_is_as_reviewed(name: str) -> None:
    path = GOLDEN / name
    text = TEXTS[name]()
    if os.environ.get("LASTCOPY_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(TEXTS)


def test_totp_is_not_rendered_for_an_openssh_that_would_ask_everybody() -> None:
    assert sshd.drop_in(plan(second_factor="totp"), "9.2") == ""
