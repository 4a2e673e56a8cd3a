"""R7: root on the relay reaches the source hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from attack_drill.drill import Drill
from attack_drill.findings import RowFinding, control, judged, not_played
from attack_drill.options import Level
from attack_drill.stolen_identity import abbreviate
from ops.hosts.connection import SshHost

# Every private key in a file, after its public key, which is empty if the key needs a passphrase or is of an unknown type.
KEYS = r"""
mark='^-----BEGIN [A-Z ]*PRIVATE KEY-----|^PuTTY-User-Key-File'
find / /run /tmp /dev/shm -xdev \( -path /proc -o -path /sys \) -prune -o -type f -size -64k -exec grep -lsIE "$mark" {} + |
  sort -u | while IFS= read -r file; do printf '%s\t%s\n' "$(ssh-keygen -y -P '' -f "$file" 2>/dev/null </dev/null | cut -d ' ' -f 1,2 || :)" "$file"; done
"""
# Reads public keys from stdin; prints the files on a source that would let one of them in.
OPENS = r"""
words=$(cat); [ -n "$words" ] || exit 0
{ find /etc/ssh -type f ! -name 'ssh_host_*'; find /root /home /var/lib -maxdepth 4 -path '*/.ssh/*' -type f; } 2>/dev/null |
  grep -v -e 'known_hosts[^/]*$' -e '\.pub$' |
  while IFS= read -r file; do printf '%s\n' "$words" | grep -qsF -f - "$file" && printf '%s\n' "$file"; done; :
"""
AGENTS = r"""
find /run /tmp /root /home -xdev -type s \( -name 'agent.*' -o -name '*ssh-agent*' -o -name 'S.gpg-agent.ssh' \) 2>/dev/null
for one in /proc/[0-9]*/environ; do tr '\0' '\n' <"$one" 2>/dev/null | grep '^SSH_AUTH_SOCK=' | sed "s#^#$one #"; done; :
"""
# Reads lines "user address port"; prints the ed25519 host key of whatever answers there.
ASK = r"""
try() { runuser -u "$1" -- ssh-keyscan -T 8 -t ed25519 -p "$3" "$2" 2>/dev/null | grep -v '^#' | sed "s#^#$1 $2 $3 #"; }
while read -r who address port; do id "$who" >/dev/null 2>&1 && try "$who" "$address" "$port" & done; wait
"""
# The same without the relay's own firewall, which is restored however this ends.
UNFENCED = (
    r"""
kept=$(mktemp /run/lastcopy-drill-rules.XXXXXX); nft list ruleset >"$kept"
back() { nft flush ruleset; nft -f "$kept" && rm "$kept"; }
trap back EXIT; trap 'exit 1' HUP INT TERM
nft flush ruleset
"""
    + ASK
)


def places(host: SshHost) -> list[tuple[str, str]]:
    """The addresses and ports of a source's sshd, as the host itself reports them."""
    ports = host.shell("sshd -T 2>/dev/null | sed -n 's/^port //p'").out.split() or ["22"]
    addresses = [host.endpoint.address, *host.shell("hostname -I").out.split()]
    found = []
    for address in dict.fromkeys(addresses):
        try:
            local = ipaddress.ip_address(address)
        except ValueError:
            found += [(address, port) for port in ports]  # a host name
            continue
        if not (local.is_loopback or local.is_link_local):
            found += [(address, port) for port in ports]
    return found


def _key(line: str) -> str:
    return " ".join(line.split()[:2])


def reached(relay: SshHost, script: str, wanted: dict[tuple[str, str], tuple[str, str]], users: Sequence[str]) -> list[str]:  # fmt: skip
    """Which places answer with their source's own host key. ``wanted``: by place, the source and its key."""
    lines = "".join(f"{user} {address} {port}\n" for user in users for address, port in wanted)
    found = []
    for line in relay.shell(script, stdin=lines).out.splitlines():
        user, address, port, _, *key = line.split()
        source, own = wanted.get((address, port), ("", ""))
        if " ".join(key[:2]) == own:
            found.append(f"{user} reaches {source} at {address} port {port}")
    return found


def play(drill: Drill) -> Iterator[RowFinding]:
    relay, sources = drill.relay, [drill.source, *drill.others]
    yield from _keys(drill, relay, sources)
    agents = relay.shell(AGENTS).out.splitlines()
    yield judged("no SSH agent is open on the relay", not agents, agents or "no socket, no variable")  # fmt: skip
    port = relay.shell("sshd -T | sed -n 's/^port //p'").out.split()[0]
    own = {("127.0.0.1", port): ("the relay", _key(drill.outputs["relay"]["hostKey"]))}
    at = urlsplit(drill.where.endpoint)
    dial = f"timeout 5 bash -c '</dev/tcp/{at.hostname}/{at.port or 443}'"
    storage = relay.shell(dial, check=False).code == 0
    yield control(
        "the relay's root finds an sshd by its key, and reaches what the relay may reach", storage and bool(reached(relay, ASK, own, ["root"])),
        f"own sshd on port {port}; storage {'reached' if storage else 'NOT reached'}",
    )  # fmt: skip
    wanted = {}
    for name in sources:
        host = drill.hosts[name]
        for place in places(host):
            wanted[place] = (name, _key(drill.outputs["sources"][name]["hostKey"]))
        here = {place: one for place, one in wanted.items() if one[0] == name}
        yield control(f"{name} answers at its own address", bool(reached(host, ASK, here, ["root"])), sorted(here))  # fmt: skip
    accounts = ["root", "_apt", "systemd-network", "systemd-timesync", "nobody"]
    accounts += [f"bk-{name}" for name in sources]
    seen = reached(relay, ASK, wanted, accounts)
    whole = f"{len(wanted)} places, {len(accounts)} accounts"
    yield judged(
        "no account of the relay reaches a source's sshd", not seen, abbreviate(seen) if seen else whole
    )
    listening = relay.shell("ss -H -ltnp").out.splitlines()
    back = [line.split()[3] for line in listening if '"sshd' in line and not line.split()[3].endswith(f":{port}")]  # fmt: skip
    yield judged("no tunnel back to a source is open", not back, back or f"sshd listens on port {port} alone")
    if not drill.may(Level.TRIAL):
        yield not_played("the same after root removes the relay's own firewall", Level.TRIAL.words)
        return
    seen = reached(relay, UNFENCED, wanted, ["root"])
    yield judged("nor does root after removing the relay's own firewall", not seen, abbreviate(seen) if seen else f"{len(wanted)} places")  # fmt: skip
    restored = relay.shell("nft list table inet lastcopy", check=False).code == 0
    yield control("the relay's firewall is restored", restored, "table inet lastcopy")


def _keys(drill: Drill, relay: SshHost, sources: Sequence[str]) -> Iterator[RowFinding]:
    rows = [line.partition("\t") for line in relay.shell(KEYS).out.splitlines()]
    found = {file: public for public, _, file in rows}
    own = _key(drill.outputs["relay"]["hostKey"])
    yield control("the search finds the relay's own host key", own in found.values(), sorted(found))  # fmt: skip
    closed = [file for file, public in found.items() if not public]
    yield judged(
        "no private key there is of an unknown type", not closed, closed or f"{len(found)} keys read"
    )
    blobs = "\n".join(sorted({public.split()[1] for public in found.values() if public}))
    opened = [f"{name}: {file}" for name in sources for file in drill.hosts[name].shell(OPENS, stdin=blobs).out.splitlines()]  # fmt: skip
    yield judged("no private key of the relay's opens a source", not opened, opened or f"{len(found)} keys, {len(sources)} sources")  # fmt: skip
