"""The units that load the relay's firewall and restore it. Pure text, no engine."""

UNIT = """\
[Unit]
Description=lastcopy: the relay's firewall
# After a rollback decided at boot, and after a ruleset of the host's own, whose load flushes every table.
After=lastcopy-guard-boot.service nftables.service
ReloadPropagatedFrom=nftables.service
Before=ssh.service
# Loaded as often as anybody asks: the sixth time within ten seconds, too.
StartLimitIntervalSec=0
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/lastcopy/firewall/rules.nft
# What was known before, without a name server: sshd waits for this unit, and at boot there may be no network yet.
ExecStartPost=-/usr/local/lib/lastcopy/refresh-storage kept
ExecReload=/usr/sbin/nft -f /etc/lastcopy/firewall/rules.nft
ExecReload=-/usr/local/lib/lastcopy/refresh-storage kept
[Install]
WantedBy=multi-user.target
"""

REFRESH_UNIT = """\
[Unit]
Description=lastcopy: the storage's current addresses, and the firewall's presence
After=lastcopy-firewall.service
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/usr/local/lib/lastcopy/refresh-storage
"""

REFRESH_TIMER = """\
[Unit]
Description=lastcopy: look after the relay's firewall
[Timer]
OnBootSec=20s
OnUnitActiveSec=60s
AccuracySec=5s
[Install]
WantedBy=timers.target
"""
