"""The text of the files with which a source connects to the relay and runs restic, from validated settings. Pure."""

from __future__ import annotations

import re

from components.host.safe_text import require_name, require_word

RELAY_ALIAS = "lastcopy-relay"
_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]+={0,2}")


def public_key(line: str) -> str:
    """The type and base64 part of an ed25519 public key, without its comment. The line may have been read from a host."""
    key = " ".join(line.split()[:2])
    if not _KEY.fullmatch(key):
        raise ValueError("the public key is not of the allowed form")
    return key


def known_hosts(relay_host_key: str) -> str:
    """The relay's key under a fixed alias: a changed address needs no new trust, and no other key is accepted."""
    return f"{RELAY_ALIAS} {public_key(relay_host_key)}\n"


def ssh_config(source: str, address: str, port: int) -> str:
    """How a source connects to the relay. Read with ``ssh -F``, so that no user's and no system's configuration applies."""
    require_name(source, "the source's name")
    require_word(address, "the relay's address")
    return f"""# Made by lastcopy; changes are overwritten.
Host relay
    HostName {address}
    Port {port}
    User bk-{source}
    IdentityFile /etc/lastcopy/id_ed25519
    IdentitiesOnly yes
    IdentityAgent none
    PreferredAuthentications publickey
    BatchMode yes
    # One pinned key, and nothing that could add another.
    HostKeyAlias {RELAY_ALIAS}
    HostKeyAlgorithms ssh-ed25519
    UserKnownHostsFile /etc/lastcopy/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    VerifyHostKeyDNS no
    CheckHostIP no
    # The relay gets a pipe and nothing of this host.
    ForwardAgent no
    ForwardX11 no
    ClearAllForwardings yes
    PermitLocalCommand no
    ControlMaster no
    ControlPath none
    RequestTTY no
    EscapeChar none
    # Fast on any CPU with AES instructions; the relay offers the same three.
    Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com
    Compression no
    ConnectTimeout 20
    ServerAliveInterval 15
    ServerAliveCountMax 4
    LogLevel ERROR
"""


def restic_conf(*, floor: str, connections: int, pack_size_mib: int, compression: str) -> str:
    """How the wrapper calls restic, whoever calls the wrapper."""
    return (
        "# Made by lastcopy; changes are overwritten. Read by restic-backup, never run.\n"
        f"floor={require_word(floor, 'the floor')}\n"
        f"connections={connections}\n"
        f"pack_size={pack_size_mib}\n"
        f"compression={require_word(compression, 'compression')}\n"
    )
