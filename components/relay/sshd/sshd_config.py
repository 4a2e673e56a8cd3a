"""The relay's sshd drop-in, and what `sshd -T` must print once it is in force. Pure text, no engine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components.host.safe_text import require_line, require_name, require_word

SecondFactor = Literal["none", "fido2", "totp"]
Generation = Literal[
    "9.2", "10.0"
]  # OpenSSH of Debian 12 and of Debian 13, which differ in algorithms and keywords

WRAPPER = "/usr/local/lib/lastcopy/serve-restic"
KEYS_DIR = "/etc/ssh/lastcopy/keys"
LOOPBACK = "127.0.0.0/8,::1/128"

# Debian 13: the lists of ssh-audit's hardened policy, in its order, with post-quantum key exchanges only. Debian 12's OpenSSH has only sntrup761
# in common with them, while the Go client of the engine's plugin has only mlkem768 and curve25519: so Debian 12 also offers curve25519. That is
# less than ssh-audit's Debian 12 policy expects (RSA host keys, finite-field exchanges); it compares for equality, and so fails.
_KEX: dict[Generation, str] = {
    "9.2": "sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org",
    "10.0": "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com",
}
_CIPHERS = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-gcm@openssh.com,aes128-ctr"
_MACS: dict[Generation, str] = {
    "9.2": "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,umac-128-etm@openssh.com",
    "10.0": "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com",
}
SK_KEYS = "sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com"
PLAIN_KEYS = f"ssh-ed25519,{SK_KEYS},rsa-sha2-512,rsa-sha2-256"


@dataclass(frozen=True, kw_only=True)
class SshdPlan:
    """Who may log in: the engine's account, and what its operators must show."""

    admin_user: str
    second_factor: SecondFactor
    listen_port: int
    trusted_networks: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_word(self.admin_user, "the admin account")
        for network in self.trusted_networks:
            ipaddress.ip_network(network)


def _settings(plan: SshdPlan, generation: Generation) -> list[tuple[str, str]]:
    """Settings for everyone. sshd takes the first value, so later files cannot loosen any of them."""
    return [
        ("Port", str(plan.listen_port)),
        ("HostKey", "/etc/ssh/ssh_host_ed25519_key"),
        ("HostKeyAlgorithms", "ssh-ed25519"),
        ("KexAlgorithms", _KEX[generation]),
        ("Ciphers", _CIPHERS),
        ("MACs", _MACS[generation]),
        ("PubkeyAcceptedAlgorithms", PLAIN_KEYS),
        ("CASignatureAlgorithms", "ssh-ed25519,rsa-sha2-512,rsa-sha2-256"),
        ("RequiredRSASize", "3072"),
        ("AllowGroups", "lastcopy-admins lastcopy-people lastcopy-sources"),
        ("PermitRootLogin", "prohibit-password" if plan.admin_user == "root" else "no"),
        ("PubkeyAuthentication", "yes"),
        ("PasswordAuthentication", "no"),
        ("KbdInteractiveAuthentication", "no"),
        ("HostbasedAuthentication", "no"),
        ("KerberosAuthentication", "no"),
        ("GSSAPIAuthentication", "no"),
        ("PermitEmptyPasswords", "no"),
        ("PermitUserEnvironment", "no"),
        ("UsePAM", "yes"),
        ("StrictModes", "yes"),
        ("AllowTcpForwarding", "no"),
        ("AllowStreamLocalForwarding", "no"),
        ("AllowAgentForwarding", "no"),
        ("X11Forwarding", "no"),
        ("PermitTunnel", "no"),
        ("GatewayPorts", "no"),
        ("Compression", "no"),
        ("UseDNS", "no"),
        ("LogLevel", "VERBOSE"),
        ("LoginGraceTime", "60"),
        ("MaxAuthTries", "6"),
        # The engine opens sixteen connections at once and fifty sources may start together; a single address may use only a part of the limit.
        ("MaxStartups", "100:30:300"),
        ("PerSourceMaxStartups", "40"),
        # A source that lost its power frees its session after two minutes.
        ("ClientAliveInterval", "30"),
        ("ClientAliveCountMax", "4"),
    ]


def drop_in(plan: SshdPlan, generation: Generation) -> str:
    """The whole file /etc/ssh/sshd_config.d/10-lastcopy.conf; empty if that OpenSSH cannot keep the promise.

    TOTP needs a separate PAM service (PAMServiceName, since OpenSSH 9.8): rewriting the host's own service would ask everybody.
    """
    if plan.second_factor == "totp" and generation == "9.2":
        return ""
    lines = [
        "# Made by lastcopy (HardenedSshd); the next `pulumi up` that changes it overwrites changes by hand.",
        "# sshd takes the first value of a keyword, so this file must sort before the others.",
        *(f"{keyword} {value}" for keyword, value in _settings(plan, generation)),
    ]
    if generation == "10.0":
        exempt = ",".join([LOOPBACK, *plan.trusted_networks])
        lines += [
            "# Short bans: sources behind one address must not lock each other out.",
            "PerSourcePenalties crash:30s authfail:1s refuseconnection:1s noauth:1s grace-exceeded:5s max:60s min:10s",
            f"PerSourcePenaltyExemptList {exempt}",
        ]
    return "\n".join([*lines, "", *_sources(), *_people(plan), ""])


def _sources() -> list[str]:
    return [
        "# Sources: one program, no terminal, no channel but its own. The keys' own `restrict,command=` and the accounts' login shell",
        "# say the same again, so that no single mistake opens a shell.",
        "Match User bk-*",
        f"    AuthorizedKeysFile {KEYS_DIR}/%u",
        "    AuthorizedKeysCommand none",
        "    AuthorizedPrincipalsFile none",
        "    TrustedUserCAKeys none",
        "    AuthenticationMethods publickey",
        "    PubkeyAcceptedAlgorithms ssh-ed25519",
        f"    ForceCommand {WRAPPER}",
        "    DisableForwarding yes",
        "    PermitTTY no",
        "    PermitUserRC no",
        "    MaxSessions 1",
        "",
    ]


def _people(plan: SshdPlan) -> list[str]:
    """People can only open tunnels to this sshd; the second factor is what they must show besides a key."""
    engine = [
        "# The engine dials dozens of times and can neither touch a key nor type a code: its key counts only through a tunnel that a",
        "# person opened with the second factor (docs/decisions/0004-second-factor.md).",
        f"Match User {plan.admin_user} Address {LOOPBACK}",
        "    AuthenticationMethods publickey",
        f"    PubkeyAcceptedAlgorithms {PLAIN_KEYS}",
        "    PubkeyAuthOptions none",
        "    KbdInteractiveAuthentication no",
        "",
    ]
    people = [
        "# People: a tunnel to this sshd for the engine, and nothing else.",
        "Match Group lastcopy-people",
        f"    AuthorizedKeysFile {KEYS_DIR}/%u",
        "    AllowTcpForwarding local",
        f"    PermitOpen 127.0.0.1:{plan.listen_port} [::1]:{plan.listen_port}",
        "    PermitTTY no",
        "    PermitUserRC no",
        "    MaxSessions 0",
    ]
    if plan.second_factor == "none":
        return people
    factor = ["", f"# Second factor: {plan.second_factor}.", "Match Group lastcopy-admins,lastcopy-people"]
    if plan.second_factor == "fido2":
        factor += [
            "    AuthenticationMethods publickey",
            f"    PubkeyAcceptedAlgorithms {SK_KEYS}",
            "    PubkeyAuthOptions verify-required",
        ]
    else:
        factor += [
            "    AuthenticationMethods publickey,keyboard-interactive:pam",
            "    KbdInteractiveAuthentication yes",
            "    PAMServiceName lastcopy-sshd",
        ]
    return [*engine, *people, *factor]


def expected_of_everyone(plan: SshdPlan, generation: Generation) -> str:
    """Lines that `sshd -T` must print, with no other values of these keywords."""
    renamed = {"permitrootlogin": {"prohibit-password": "without-password"}}
    lines = []
    for keyword, value in _settings(plan, generation):
        word = keyword.lower()
        values = value.split() if word == "allowgroups" else [renamed.get(word, {}).get(value, value)]
        lines += [f"{word} {one}" for one in values]
    return "\n".join(lines) + "\n"


def expected_of_sources() -> str:
    """Lines that `sshd -T -C user=bk-…` must print, with no other values of these keywords."""
    wanted = {
        "authorizedkeysfile": f"{KEYS_DIR}/%u",
        "authorizedkeyscommand": "none",
        "authorizedprincipalsfile": "none",
        "trustedusercakeys": "none",
        "authenticationmethods": "publickey",
        "pubkeyacceptedalgorithms": "ssh-ed25519",
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "forcecommand": WRAPPER,
        "disableforwarding": "yes",
        "permittty": "no",
        "permituserrc": "no",
        "permituserenvironment": "no",
        "maxsessions": "1",
    }
    return "".join(f"{keyword} {value}\n" for keyword, value in wanted.items())


def people_keys(people: Mapping[str, Sequence[str]], factor: SecondFactor) -> dict[str, str]:
    """The lines of each person's key file, with the account's name in front."""
    found = {}
    for name, keys in people.items():
        require_name(name, "a person's account")
        options = "restrict,port-forwarding" + (",verify-required" if factor == "fido2" else "")
        lines = [require_line(key, "a person's public key") for key in keys]
        found[name] = "".join(f"{name} {options} {line}\n" for line in lines)
    return found
