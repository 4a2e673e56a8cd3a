"""The relay as `furnish` left it: checks whether it is unchanged, and restores it without running every step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.scripts.relay.chain import Chain

PLACES = "etc usr/local home var/lib/lastcopy/guard"
ARCHIVE = "/srv/furnished.tar"
UNITS = "ssh.service lastcopy-firewall.service lastcopy-storage.timer lastcopy-limits.timer"
# Programs are too large to keep: only their presence is checked, not their content.
SMALL = r"\( -type f -size +1000k -prune -o -print0 \)"
LOOK = f"""
cd / && find {PLACES} -printf '%p %y %m %U %G %l\\n' | sort
find {PLACES} -type f -size -1000k -print0 | sort -z | xargs -0 sha256sum
nft -s list ruleset
systemctl show -p Id,ActiveState,UnitFileState,NeedDaemonReload {UNITS}
systemctl list-units --all --plain --no-legend 'lastcopy-guard-*.timer' | cut -d ' ' -f 1
"""
KEEP = f"cd / && find {PLACES} {SMALL} | tar --null --no-recursion -T - -cpf {ARCHIVE}"
PUT_BACK = f"""
set -e; cd /
systemctl stop 'lastcopy-guard-*.timer' 'lastcopy-guard-*.service'
tar -tf {ARCHIVE} | sed 's,/$,,' | sort >/run/kept
find {PLACES} {SMALL} | tr '\\0' '\\n' | sort | comm -23 - /run/kept | sort -r | tr '\\n' '\\0' | xargs -0 -r rm -rf
tar --numeric-owner -xpf {ARCHIVE}
systemctl daemon-reload; systemctl restart lastcopy-firewall.service; systemctl start lastcopy-storage.timer lastcopy-limits.timer
"""
# Only the steps can restore these. An account: processes, rules and files refer to its number. A source's daily limit: the kernel holds its count.
STEPS_ONLY = re.compile(r"etc/(passwd|group)$|/daily( |$)|^table inet lastcopy-")


@dataclass(frozen=True)
class Snapshot:
    """``look``: files, rules and units at the time, as text."""

    look: str

    @classmethod
    def of(cls, chain: Chain) -> Snapshot:
        assert chain.admin("sudo -n true").returncode == 0  # the first sudo of an account leaves a file
        chain.sh(KEEP)
        return cls(chain.sh(LOOK))

    def put_back(self, chain: Chain) -> bool:
        """Restore what the test changed. False: only the steps can do that."""
        now = chain.sh(LOOK)
        changed = {*now.splitlines()} ^ {*self.look.splitlines()}
        if any(map(STEPS_ONLY.search, changed)):
            return False
        if changed:
            chain.sh(PUT_BACK)
        # It reads its settings again, and forgets failed logins.
        chain.sh("systemctl reset-failed ssh.service; systemctl restart ssh.service")
        return not changed or chain.sh(LOOK) == self.look
