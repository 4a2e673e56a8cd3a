# shellcheck shell=sh
# relay_entry: one source's room on the relay: account, key, identity and limits. Touches nothing of another source.
# Values: SOURCE, KEY_LINE, SERVE, SESSIONS, DAILY_BYTES (empty: no limit). Secret: RCLONE_CONF.
KEYS=/etc/ssh/lastcopy/keys
WRAPPER=$LIB_DIR/serve-restic

names() {
  source=$(value SOURCE)
  case $source in '' | *[!a-z0-9-]* | [!a-z]*) refuse "'$source' is not a source's name" "use a-z, 0-9 and -, a letter first" ;; esac
  account=bk-$source
  room=$ROOT_DIR/relay/$source
}

account() {
  entry=$(getent passwd "$account" || true)
  if [ -n "$entry" ] && [ "$(printf %s "$entry" | cut -d : -f 5)" != "lastcopy source" ]; then
    refuse "account $account exists on this host and was not made by this program" "rename or remove it on the host, then run 'pulumi up' again"
  fi
  if ! getent group "$account" >/dev/null; then
    if would "group $account"; then groupadd --system "$account"; fi
  fi
  # Its first group is the one that the firewall knows; its own group reads its room. The login shell is the wrapper: no shell to reach.
  if [ -z "$entry" ]; then
    if would "account $account"; then
      useradd --system --gid lastcopy-sources --groups "$account" --no-create-home --home-dir / \
        --shell "$WRAPPER" --comment 'lastcopy source' "$account"
    fi
  elif [ "$(printf %s "$entry" | cut -d : -f 4,6,7)" != "$(getent group lastcopy-sources | cut -d : -f 3):/:$WRAPPER" ] ||
    [ "$(id -Gn "$account" | tr ' ' '\n' | sort | tr '\n' ' ')" != "$account lastcopy-sources " ]; then
    if would "account $account"; then
      usermod --gid lastcopy-sources --groups "$account" --home / --shell "$WRAPPER" "$account"
    fi
  fi
  if [ "$(getent shadow "$account" | cut -d : -f 2)" != '*' ]; then
    if would "no password for $account"; then usermod -p '*' "$account"; fi
  fi
}

# differs VALUE FILE: the file is there and holds something else.
differs() {
  value "$1" >"$WORK/value"
  [ -f "$2" ] && ! cmp -s "$WORK/value" "$2"
}

# daily: what it may send to the storage in a day, before anybody can enter (S10).
daily() {
  limit=$(value DAILY_BYTES)
  case $limit in *[!0-9]*) refuse "'$limit' is not a number of bytes" "give limits.uploadGiBPerDay as a whole number" ;; esac
  table=lastcopy-$source
  if [ -z "$limit" ]; then
    [ -e "$room/daily" ] || return 0
    gone "$room/daily"
  else
    command -v nft >/dev/null || refuse "nftables is not installed, so a limit of bytes cannot be held" "install the package nftables on the host, then run 'pulumi up' again"
    printf '%s\n' "$limit" | put "$room/daily" 600 root:root
    loaded=$(nft -j list quota inet "$table" sent 2>/dev/null | sed -n 's/.*"bytes": *\([0-9]*\).*/\1/p')
    [ "$loaded" != "$limit" ] || return 0
    would "limit of bytes" || return 0
  fi
  if [ "$MODE" = apply ]; then
    "$LIB_DIR/hold-limits" >&2 || refuse "the limit of bytes could not be loaded" "run $LIB_DIR/hold-limits on the host to see why"
  fi
}

step_apply() {
  names
  [ -x "$WRAPPER" ] || refuse "$WRAPPER is missing" "apply the relay step first: run 'pulumi up' without --target"
  account
  folder "$room" 750 "root:$account"
  folder "$room/slots" 750 "root:$account"
  sessions=$(value SESSIONS)
  slot=1
  while [ "$slot" -le "$sessions" ]; do
    put "$room/slots/$slot" 640 "root:$account" </dev/null
    slot=$((slot + 1))
  done
  for old in "$room"/slots/*; do
    if [ -e "$old" ] && [ "${old##*/}" -gt "$sessions" ]; then gone "$old"; fi
  done
  # What a running session was opened with may stop to hold: its key, or its identity, which the storage forgets after this update.
  # Such sessions are ended (restic would try a dead identity for a quarter of an hour); the mark is for a run that is killed in between.
  mark=$room/old-sessions
  if [ "$MODE" = apply ] && { differs KEY_LINE "$KEYS/$account" || differs RCLONE_CONF "$room/rclone.conf"; }; then : >"$mark"; fi
  put_value RCLONE_CONF "$room/rclone.conf" 640 "root:$account"
  put_value SERVE "$room/serve.conf" 640 "root:$account"
  daily
  # The key comes last: nobody enters a room that is not furnished.
  put_value KEY_LINE "$KEYS/$account" 644 root:root
  if [ -e "$mark" ] && would "end of the sessions that were opened with another key or identity"; then
    end_processes_of "$account"
    rm -f "$mark"
  fi
  fact account "$account"
}

step_remove() {
  names
  gone "$KEYS/$account"
  if getent passwd "$account" >/dev/null; then
    if would "remove account $account"; then
      end_processes_of "$account"
      # A login that was under way can still be dying.
      tries=0
      until userdel "$account" 2>"$WORK/answer"; do
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || refuse "account $account cannot be removed: $(cat "$WORK/answer")" "end its processes on the host, then run the same command again"
        sleep 0.5
        end_processes_of "$account"
      done
    fi
  fi
  if getent group "$account" >/dev/null; then
    if would "remove group $account"; then groupdel "$account"; fi
  fi
  gone "$room"
  if [ -x "$LIB_DIR/hold-limits" ]; then "$LIB_DIR/hold-limits" >&2; fi # its count and rule go with the room
}
