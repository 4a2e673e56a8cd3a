# shellcheck shell=sh
# schedule: when and what this host backs up. Values: BACKUP_CONF, PATHS, EXCLUDES, SERVICE, TIMER, BACKOFF, CALENDAR, DELAY, HOOKS, SANDBOX.
# program: RUN_BACKUP run-backup
# program: BACKUP_CONTENTS backup-contents
# program: BACKUP_FAILURES backup-failures
# Fact: zone, the host's own time zone, which applies to a schedule without a zone.
UNITS=/etc/systemd/system
TRIALS=lastcopy-try-sandbox

# look_at_sandbox: tries the unit's own confinement and checks its effect. In a container that may not make mount namespaces systemd
# either fails to start the unit (226), or starts it without them and says so only in its debug log.
look_at_sandbox() {
  value SANDBOX >"$WORK/sandbox"
  look='grep -q "^NoNewPrivs:.1$" /proc/self/status && grep -q "^Seccomp:.2$" /proc/self/status || exit 11'
  ! grep -q '^ProtectSystem=' "$WORK/sandbox" || look="$look; [ ! -w /usr ] && [ ! -w /etc ] || exit 12"
  set --
  while IFS= read -r line; do set -- "$@" -p "$line"; done <"$WORK/sandbox"
  # A unique name, because the trial of a killed run may still be running.
  trial=$TRIALS-$$.service
  systemctl reset-failed "$TRIALS-*.service" 2>/dev/null || true # left by such a run, if any
  if systemd-run --quiet --unit="$trial" --service-type=oneshot "$@" /bin/sh -c "$look" 2>"$WORK/answer"; then return 0; fi
  status=$(systemctl show -p ExecMainStatus --value "$trial")
  systemctl reset-failed "$trial" 2>/dev/null || true # it did not get so far
  case $status in
    11) problem "this host's kernel or container filters no system calls, so a backup cannot be confined" "use a kernel with seccomp" ;;
    12) refuse_sandbox "systemd leaves it out, and files stay writable" ;;
    226) refuse_sandbox "systemd's exit status 226, NAMESPACE" ;;
    *) problem "this host cannot confine the backup (exit status ${status:-unknown}): $(head -n 1 "$WORK/answer")" "look at 'journalctl -u $trial' on the host" ;;
  esac
}
refuse_sandbox() {
  problem "this host cannot set up the backup's sandbox ($1): it is a container that may not make mount namespaces" \
    "allow it that (LXC: nesting), or accept less: set this source's sandboxing to reduced in the stack"
}

step_apply() {
  [ -d /run/systemd/system ] || refuse "this host does not run systemd" "backups are scheduled by a systemd timer; use a host that has one"
  command -v systemd-analyze >/dev/null || refuse "systemd-analyze is not installed" "apt-get install systemd"
  # Checked by this host's own systemd before they are live.
  systemd-analyze calendar -- "$(value CALENDAR)" >/dev/null 2>&1 ||
    problem "this host's systemd does not take the schedule '$(value CALENDAR)'" "correct the source's schedule; try it with: systemd-analyze calendar '…'"
  systemd-analyze timespan -- "$(value DELAY)" >/dev/null 2>&1 ||
    problem "this host's systemd does not take the randomized delay '$(value DELAY)'" "correct the source's randomizedDelay, for example 30m"
  value HOOKS >"$WORK/hooks"
  while IFS= read -r hook; do
    if [ ! -f "$hook" ] || [ ! -x "$hook" ]; then
      problem "the hook $hook is missing or not executable" "put it on the host (chmod 755, owner root), or take it out of the stack"
    elif [ "$(stat -Lc %u "$hook")" != 0 ] || [ -n "$(find -L "$hook" -perm /022)" ]; then
      problem "the hook $hook runs as root, but others than root may change it" "chown root $hook; chmod go-w $hook"
    fi
  done <"$WORK/hooks"
  value PATHS >"$WORK/paths"
  while IFS= read -r path; do
    [ ! -L "$path" ] || problem "the path $path is a symbolic link, of which a backup holds the link alone" \
      "write its target, $(readlink -m -- "$path"), into the source's paths in its place"
  done <"$WORK/paths"
  look_at_sandbox
  stop_on_problems

  folder "$ROOT_DIR" 755 root:root
  folder "$STATE_DIR" 755 root:root
  folder "$LIB_DIR" 755 root:root
  put_value BACKUP_CONTENTS "$LIB_DIR/backup-contents" 755 root:root
  put_value BACKUP_FAILURES "$LIB_DIR/backup-failures" 644 root:root
  put_value BACKUP_CONF "$ROOT_DIR/backup.conf" 600 root:root
  put_value PATHS "$ROOT_DIR/paths" 600 root:root
  put_value EXCLUDES "$ROOT_DIR/excludes" 600 root:root
  put_value RUN_BACKUP "$LIB_DIR/run-backup" 755 root:root # after all that it reads
  put_value SERVICE "$UNITS/lastcopy-backup.service" 644 root:root
  put_value TIMER "$UNITS/lastcopy-backup.timer" 644 root:root
  if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
    folder "$UNITS/lastcopy-backup.service.d" 755 root:root
    put_value BACKOFF "$UNITS/lastcopy-backup.service.d/backoff.conf" 644 root:root
  fi
  # Ask systemd instead of remembering: an earlier run may have been killed between the files and the reload.
  for unit in lastcopy-backup.service lastcopy-backup.timer; do
    if [ "$(systemctl show -p NeedDaemonReload --value "$unit")" = yes ] && would "daemon-reload"; then systemctl daemon-reload; fi
  done
  if ! systemctl -q is-enabled lastcopy-backup.timer 2>/dev/null || ! systemctl -q is-active lastcopy-backup.timer; then
    if would "enable lastcopy-backup.timer"; then systemctl -q enable --now lastcopy-backup.timer; fi
  fi
  fact zone "$(zone)"
}

# zone: where /etc/localtime points; a host without it is in UTC (localtime(5)).
zone() {
  found=$(readlink /etc/localtime || true)
  case $found in */zoneinfo/*) printf %s "${found##*/zoneinfo/}" ;; *) printf UTC ;; esac
}

step_remove() {
  if [ -e "$UNITS/lastcopy-backup.timer" ] && would "stop lastcopy-backup"; then
    systemctl -q disable --now lastcopy-backup.timer
    systemctl stop lastcopy-backup.service
  fi
  gone "$UNITS/lastcopy-backup.service.d"
  gone "$UNITS/lastcopy-backup.timer"
  gone "$UNITS/lastcopy-backup.service"
  if changed; then systemctl daemon-reload; fi
  gone "$LIB_DIR/run-backup"
  gone "$LIB_DIR/backup-contents"
  gone "$LIB_DIR/backup-failures"
  for file in backup.conf paths excludes; do gone "$ROOT_DIR/$file"; done
}
