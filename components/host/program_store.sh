# shellcheck shell=sh
# program_store: the programs of this host, each in a file named after its SHA-256. Run as `sh -c TEXT program_store MODE MARK`.
#   send    store the programs from stdin (a compressed tar archive), all or none, and leave MARK
#   remove  remove all programs, unless a later sending left another mark
# A program stays once it was sent: the `remove` of an older step names an older digest.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
LIB_DIR=/usr/local/lib/lastcopy
STORE=$LIB_DIR/programs
RUN_DIR=/run/lastcopy

refuse() { printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2; exit 1; }

own_folder() {
  [ ! -L "$1" ] || refuse "$1 is a symbolic link" "remove it on the host, then run 'pulumi up' again"
  mkdir -p "$1"
  chown root:root "$1"
  chmod 755 "$1"
}

send() {
  own_folder "$LIB_DIR"
  own_folder "$STORE"
  rm -rf "$STORE"/.new.?????? # of a sending that was killed; only one runs on a host at a time
  new=$(mktemp -d "$STORE/.new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' INT TERM HUP
  tar -xzf - -C "$new" --no-same-owner --no-same-permissions ||
    refuse "the programs did not arrive whole (a cut connection, or a full disk)" "run 'pulumi up' again"
  for file in "$new"/*; do
    [ "$(sha256sum <"$file")" = "${file##*/}  -" ] || refuse "a program that arrived is not the one that was sent" "run 'pulumi up' again"
    chmod 444 "$file"
  done
  sync "$new"/*
  mv -f "$new"/* "$STORE/"
  printf '%s\n' "$mark" >"$new/mark"
  mv -f "$new/mark" "$STORE/.mark"
  sync "$STORE"
}

remove() {
  [ -d "$STORE" ] || return 0
  [ "$(cat "$STORE/.mark")" = "$mark" ] || return 0
  rm -rf "$STORE"
  rmdir --ignore-fail-on-non-empty "$LIB_DIR"
}

main() {
  mode=$1 mark=$2
  [ "$(id -u)" = 0 ] || refuse "this needs root" "let the admin account use sudo without a password"
  own_folder "$RUN_DIR"
  # The same lock as for steps: neither runs while the other does.
  exec 9>"$RUN_DIR/step.lock"
  flock -w 240 9 || refuse "a lastcopy step has been running on $(uname -n) for four minutes" "look at 'ps' there; end it or wait, then run 'pulumi up' again"
  "$mode"
}
main "$@"
