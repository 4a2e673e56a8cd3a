"""The units that enforce the sources' daily limits. Pure text, no engine."""

HOLD_UNIT = """\
[Unit]
Description=lastcopy: hold the sources to what they may send in a day
ConditionPathExistsGlob=/etc/lastcopy/relay/*/daily
# After a ruleset of the host's own, whose load flushes every table.
After=nftables.service
[Service]
Type=oneshot
ExecStart=/usr/local/lib/lastcopy/hold-limits
"""

# By the clock: a unit whose condition fails never counts as having been active.
HOLD_TIMER = """\
[Unit]
Description=lastcopy: hold the sources to what they may send in a day
[Timer]
OnBootSec=1s
OnCalendar=minutely
AccuracySec=1s
[Install]
WantedBy=timers.target
"""
