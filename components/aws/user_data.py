"""The user data of a new relay on AWS: `#cloud-config` for cloud-init on Debian 13. Pure text, no engine.

It uses only these keys: ssh_deletekeys, ssh_keys (ecdsa_private, ecdsa_public),
ssh_pwauth, disable_root, users (one: name, shell, lock_passwd, sudo, ssh_authorized_keys), package_update, packages, write_files (path,
permissions, content), runcmd (lists of words; only with SSM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import yaml

from components.aws.first_host_key import FirstKey
from components.host.safe_text import require_line, require_word

LIMIT = 16384  # bytes that EC2 accepts
REBOOT_AT = "05:30"  # UTC, as in Debian's image

HEAD = "#cloud-config\n# Made by lastcopy (Ec2Relay). Counts at the first boot only; the host key in it is replaced on first contact.\n"

UPGRADES = f"""\
// Made by lastcopy (Ec2Relay): security updates come by themselves, and a kernel takes effect within a day.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Automatic-Reboot "true";
Unattended-Upgrade::Automatic-Reboot-WithUsers "true";
Unattended-Upgrade::Automatic-Reboot-Time "{REBOOT_AT}";
"""


@dataclass(frozen=True, kw_only=True)
class UserDataPlan:
    """``first_key``: the host key for the first connection. ``ssm_region``: where the SSM agent comes from; None without SSM."""

    first_key: FirstKey
    admin_user: str
    admin_public_key: str
    architecture: Literal["arm64", "amd64"]
    ssm_region: str | None = None

    def __post_init__(self) -> None:
        require_word(self.admin_user, "the admin account")
        require_line(self.admin_public_key, "the admin's public key")
        if self.ssm_region is not None:
            require_word(self.ssm_region, "the region")


def user_data(plan: UserDataPlan) -> str:
    """The whole text.

    Raises:
        ValueError: it is larger than EC2 accepts.
    """
    text = HEAD + yaml.dump(_config(plan), Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=1000)
    if len(text.encode()) > LIMIT:
        raise ValueError(f"user data of {len(text.encode())} bytes is more than the {LIMIT} that EC2 takes")
    return text


def _config(plan: UserDataPlan) -> dict[str, object]:
    config: dict[str, object] = {
        # Others may know the host keys of the image; the lasting key is made on first contact.
        "ssh_deletekeys": True,
        "ssh_keys": {"ecdsa_private": plan.first_key.private, "ecdsa_public": plan.first_key.public + "\n"},
        "ssh_pwauth": False,
        "disable_root": True,
        "users": [
            {
                "name": plan.admin_user,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [plan.admin_public_key],
            }
        ],
        "package_update": True,
        "packages": ["unattended-upgrades", "nftables", "ca-certificates", "curl"],
        "write_files": [
            {"path": "/etc/apt/apt.conf.d/52lastcopy", "permissions": "0644", "content": UPGRADES},
        ],
    }
    if plan.ssm_region is not None:
        config["runcmd"] = _ssm_agent(plan.ssm_region, plan.architecture)
    return config


def _ssm_agent(region: str, architecture: str) -> list[list[str]]:
    """Install the SSM agent, which Debian does not package. It comes by HTTPS from AWS's own bucket: AWS runs the machine, so nobody else is trusted."""
    package = "/var/cache/lastcopy-ssm-agent.deb"
    address = f"https://s3.{region}.amazonaws.com/amazon-ssm-{region}/latest/debian_{architecture}/amazon-ssm-agent.deb"
    return [
        ["curl", "-fsS", "--proto", "=https", "--tlsv1.2", "--retry", "5", "-o", package, address],
        ["dpkg", "-i", package],
        ["systemctl", "enable", "--now", "amazon-ssm-agent.service"],
    ]


class _Dumper(yaml.SafeDumper):
    """Writes multi-line text as blocks, so that a reviewer can read it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
