# shellcheck shell=sh
# shellcheck disable=SC2154 # source_account sets: source, account, own
# relay_entry: one source's account, key, storage identity and limits on the relay. Touches nothing of another source.
# prelude: source_account
# Values: SOURCE, KEY_LINE, SERVE, SESSIONS, DAILY_BYTES (empty: no limit). Secrets: RCLONE_CONF; CREDENTIALS (empty: RCLONE_CONF holds the key).
# differs VALUE FILE: whether the file exists with another content.
differs() {
  value "$1" >"$WORK/value"
  [ -f "$2" ] && ! cmp -s "$WORK/value" "$2"
}

# daily: the limit of what it may send to the storage in a day, set before the source can log in (S10).
daily() {
  limit=$(value DAILY_BYTES)
  case $limit in *[!0-9]*) refuse "'$limit' is not a number of bytes" "give limits.uploadGiBPerDay as a whole number" ;; esac
  table=lastcopy-$source
  if [ -z "$limit" ]; then
    [ -e "$own/daily" ] || return 0
    gone "$own/daily"
  else
    command -v nft >/dev/null || refuse "nftables is not installed, so a limit of bytes cannot be held" "install the package nftables on the host, then run 'pulumi up' again"
    printf '%s\n' "$limit" | put "$own/daily" 600 root:root
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
  folder "$own" 750 "root:$account"
  folder "$own/slots" 750 "root:$account"
  sessions=$(value SESSIONS)
  slot=1
  while [ "$slot" -le "$sessions" ]; do
    put "$own/slots/$slot" 640 "root:$account" </dev/null
    slot=$((slot + 1))
  done
  for old in "$own"/slots/*; do
    if [ -e "$old" ] && [ "${old##*/}" -gt "$sessions" ]; then gone "$old"; fi
  done
  # A running session may use a key or an identity that this update withdraws. Such sessions are ended, because restic would go on
  # with a dead identity for a quarter of an hour. The mark is for a run that is killed in between.
  mark=$own/old-sessions
  if [ "$MODE" = apply ] && { differs KEY_LINE "$KEYS/$account" || differs RCLONE_CONF "$own/rclone.conf" || differs CREDENTIALS "$own/credentials"; }; then : >"$mark"; fi
  # The key comes before the configuration that names its file.
  if [ -n "$(value CREDENTIALS)" ]; then put_value CREDENTIALS "$own/credentials" 640 "root:$account"; fi
  put_value RCLONE_CONF "$own/rclone.conf" 640 "root:$account"
  if [ -z "$(value CREDENTIALS)" ]; then gone "$own/credentials"; fi
  put_value SERVE "$own/serve.conf" 640 "root:$account"
  daily
  # The key comes last: nobody logs in before the rest is in place.
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
  account_gone "$account"
  gone "$own"
  if [ -x "$LIB_DIR/hold-limits" ]; then "$LIB_DIR/hold-limits" >&2; fi # its count and rule go with the folder
}
