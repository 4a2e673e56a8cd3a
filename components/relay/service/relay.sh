# shellcheck shell=sh
# relay: what all sources share: the checked rclone, the wrapper (the only program that they can start), folders, the storage's CA certificate.
# prelude: source_account
# Values: RCLONE (path), FLOOR, CA, HOLD_UNIT, HOLD_TIMER.
# program: WRAPPER serve-restic
# program: HOLD hold-limits
DIR=$ROOT_DIR/relay
UNITS=/etc/systemd/system
AGAIN="then run 'pulumi up' again"

look() {
  [ -d /run/systemd/system ] || problem "systemd does not run this host" "give the relay a host that boots with systemd"
  for command in setpriv prlimit flock systemd-cat logger timeout stat; do
    command -v "$command" >/dev/null || problem "the command $command is missing" "apt-get install util-linux coreutils systemd bsdutils on the host, $AGAIN"
  done
  free=$(df -Pk /var | awk 'NR == 2 { print $4 }')
  [ "$free" -ge 204800 ] || problem "only $((free / 1024)) MiB are free on /var" "free at least 200 MiB on the host, $AGAIN"
  getent group lastcopy-sources >/dev/null || problem "the group lastcopy-sources is missing" "apply the sshd step first: run 'pulumi up' without --target"
  rclone=$(value RCLONE)
  if [ -x "$rclone" ]; then
    # Whoever can write it, or a folder above it, decides what every source runs.
    place=$(readlink -f "$rclone")
    while [ "$place" != / ]; do
      mode=$(stat -c '%A' "$place")
      case $(stat -c %u "$place")${mode} in
        0?????-??-?*) ;;
        *) problem "$place is writable by others than root ($mode)" "chown root:root and chmod go-w it on the host, $AGAIN" ;;
      esac
      place=$(dirname "$place")
    done
    found=$(env -i PATH="$PATH" HOME="$WORK" "$rclone" version 2>/dev/null | sed -n '1s/^rclone v//p')
    version_at_least "${found:-0}" "$(value FLOOR)" ||
      problem "$rclone is version ${found:-unknown}, below $(value FLOOR): GHSA-45pq-889g-fcgh (paths with .. leave the served folder) and rclone PR 9925 (append-only can be raced)" "install rclone $(value FLOOR) or newer on the host, $AGAIN"
  else
    problem "rclone is missing at $rclone" "run 'pulumi up' again: its tool step installs it"
  fi
  stop_on_problems
}

step_apply() {
  look
  folder "$ROOT_DIR" 755 root:root
  folder "$DIR" 755 root:root
  folder "$LIB_DIR" 755 root:root
  put_value WRAPPER "$LIB_DIR/serve-restic" 755 root:root
  if [ -n "$(value CA)" ]; then put_value CA "$DIR/storage-ca.pem" 644 root:root; else gone "$DIR/storage-ca.pem"; fi
  printf 'path %s\nseen %s\nfloor %s\n' "$rclone" "$(stat -Lc '%d:%i:%s:%Y:%Z' "$rclone")" "$(value FLOOR)" | put "$DIR/rclone" 644 root:root
  # Limits what sources may send in a day; without any such limit its unit does nothing.
  folder "$STATE_DIR" 755 root:root
  folder "$STATE_DIR/sent" 700 root:root
  put_value HOLD "$LIB_DIR/hold-limits" 755 root:root
  put_value HOLD_UNIT "$UNITS/lastcopy-limits.service" 644 root:root
  put_value HOLD_TIMER "$UNITS/lastcopy-limits.timer" 644 root:root
  if ! systemctl is-enabled -q lastcopy-limits.timer 2>/dev/null || ! systemctl is-active -q lastcopy-limits.timer ||
    systemctl show -p NeedDaemonReload lastcopy-limits.timer lastcopy-limits.service | grep -q '=yes'; then
    if would "timer of the limits"; then
      systemctl daemon-reload
      systemctl enable -q lastcopy-limits.timer
      systemctl restart lastcopy-limits.timer
    fi
  fi
  fact rclone "$found"
}

step_remove() {
  systemctl disable -q --now lastcopy-limits.timer 2>/dev/null || true # not there: nothing to stop
  systemctl stop -q lastcopy-limits.service 2>/dev/null || true # a run under way would load its rules again
  gone "$UNITS/lastcopy-limits.service"
  gone "$UNITS/lastcopy-limits.timer"
  systemctl daemon-reload
  unenrolled_accounts_gone # of a storage step that was killed, whose source was then dropped
  gone "$DIR"
  if [ -x "$LIB_DIR/hold-limits" ]; then "$LIB_DIR/hold-limits"; fi # takes its rules with it
  gone "$STATE_DIR/sent"
  gone "$LIB_DIR/hold-limits"
  gone "$LIB_DIR/serve-restic"
}
