# shellcheck shell=sh
# firewall: nftables rules that are checked before they are live, and rolled back unless a fresh login confirms them.
# Values: PHASE apply|confirm, GUARD_SECONDS, RULES, NAMES, UPDATERS, UNIT, REFRESH_UNIT, REFRESH_TIMER.
# program: REFRESH refresh-storage
DIR=$ROOT_DIR/firewall
UNITS=/etc/systemd/system
AGAIN="then run 'pulumi up' again"

# Numbers, because nft refuses the whole file if one account does not exist. refresh-storage adds accounts that are made later.
accounts_file() {
  printf '# Made by lastcopy (RelayFirewall): who may fetch updates, names and the time; and the sources.\ndefine updaters = { 0'
  value UPDATERS >"$WORK/updaters"
  xargs -r getent passwd <"$WORK/updaters" | cut -d : -f 3 | sed 's/^/, /' | tr -d '\n'
  printf ' }\ndefine sources = %s\n' "$(getent group lastcopy-sources | cut -d : -f 3)"
}

# look_for_directory ACCOUNT: behind these rules a host could no longer look up an account from a network directory, at the next login or when
# its cache has expired, which the guard would not notice.
look_for_directory() {
  [ -n "$1" ] && ! getent -s files passwd "$1" >/dev/null || return 0
  for service in sss ldap winbind; do
    ! getent -s "$service" passwd "$1" >/dev/null 2>&1 || refuse \
      "the admin account $1 comes from a directory ($service) whose servers these rules keep this host from" \
      "name the servers in lastcopy:intermediate.existing.directory, or give the relay a local admin account, $AGAIN"
  done
}

# The admin may come through a VPN that ends on this host: the rules would drop the packets that carry it.
look_for_vpn() {
  ! grep -q '^    meta skuid != 0 udp sport ' "$WORK/rules" || return 0
  for device in $(ip -o addr show to "$(printf '%s' "$DIALLED_FROM" | cut -d ' ' -f 3)" 2>/dev/null | sed 's/^[0-9]*: *\([^ @]*\).*/\1/'); do
    if ip -d link show "$device" | grep -Eq '^ +(tun|wireguard) '; then
      refuse "this run comes through a VPN that ends on this host ($device), and these rules would drop the packets that carry it" \
        "name the UDP port on which the VPN listens here ('wg show $device listen-port', or 'ss -ulpn') in lastcopy:intermediate.existing.vpnPorts, $AGAIN"
    fi
  done
}

look() {
  command -v nft >/dev/null || packages nftables "the firewall" ||
    refuse "nftables is not installed, so the rules cannot be looked at" "run 'pulumi up'"
  getent group lastcopy-sources >/dev/null || refuse "the group lastcopy-sources is missing" "apply the sshd step first: run 'pulumi up' without --target"
  value RULES >"$WORK/rules"
  grep -q '^  set directory4 ' "$WORK/rules" || look_for_directory "${SUDO_USER-}"
  look_for_vpn
  accounts_file >"$WORK/accounts"
  # The candidate as one file, since the include names the live place.
  { cat "$WORK/accounts" && sed '/^include /d' "$WORK/rules"; } >"$WORK/candidate"
  nft -c -f "$WORK/candidate" 2>"$WORK/answer" && return 0
  case $(cat "$WORK/answer") in
    *'not permitted'*) refuse "this host may not set firewall rules: it is a container without CAP_NET_ADMIN" \
      "give the relay a machine, or a container that has a network of its own and may set its rules; without the firewall a source could reach what it must not, so there is no way around" ;;
  esac
  refuse "nft refuses the rules: $(tr '\n' ' ' <"$WORK/answer")" "if it says 'Operation not supported', the host's kernel lacks nf_tables; else report it. The live rules were not touched"
}

# The kernel's rules, without counters and without the addresses and accounts that the timer looks up.
in_kernel() {
  nft -s list table inet lastcopy >"$WORK/kernel" 2>/dev/null || return 1
  sed -e '/^\tset looked_up/,/^\t}/d' -e '/^\tset updaters/,/^\t}/d' "$WORK/kernel"
}

is_live() {
  cmp -s "$WORK/rules" "$DIR/rules.nft" && cmp -s "$WORK/accounts" "$DIR/accounts.nft" &&
    in_kernel >"$WORK/loaded" && cmp -s "$WORK/loaded" "$DIR/loaded" &&
    systemctl is-enabled -q lastcopy-firewall.service 2>/dev/null
}

restore_script() {
  printf 'set -eu\numask 077\ncd %s\n' "$DIR"
  if [ -d "$STATE_DIR/guard/firewall.previous" ]; then
    # If it is already gone, an earlier rollback was interrupted after its last step.
    printf 'if [ -d %s/guard/firewall.previous ]; then cp %s/guard/firewall.previous/*.nft .; fi\n' "$STATE_DIR" "$STATE_DIR"
    printf '[ "$1" = boot ] || nft -f rules.nft\n'
  else
    printf 'systemctl disable -q lastcopy-firewall.service lastcopy-storage.timer || true\nrm -f rules.nft\n'
    printf '[ "$1" = boot ] || { systemctl stop lastcopy-storage.timer lastcopy-storage.service || true; nft delete table inet lastcopy || true; }\n'
  fi
  printf 'rm -rf %s/guard/firewall.previous\n' "$STATE_DIR"
}

go_live() { # go_live SECONDS
  if ! guard_pending firewall; then
    rm -rf "$STATE_DIR/guard/firewall.previous" "$STATE_DIR/guard/firewall.new"
    if [ -f "$DIR/rules.nft" ] && [ -f "$DIR/accounts.nft" ]; then
      mkdir "$STATE_DIR/guard/firewall.new"
      cp "$DIR/rules.nft" "$DIR/accounts.nft" "$STATE_DIR/guard/firewall.new/"
      mv "$STATE_DIR/guard/firewall.new" "$STATE_DIR/guard/firewall.previous"
    fi
  fi
  restore_script >"$WORK/restore"
  guard_arm firewall "$1" <"$WORK/restore"
  put "$DIR/accounts.nft" 600 root:root <"$WORK/accounts"
  put "$DIR/rules.nft" 600 root:root <"$WORK/rules"
  systemctl daemon-reload
  systemctl enable -q lastcopy-firewall.service
  systemctl restart lastcopy-firewall.service ||
    refuse "the firewall did not load" "the previous rules come back by themselves within $1 seconds; see 'journalctl -u lastcopy-firewall' on the host"
  in_kernel >"$WORK/loaded" && put "$DIR/loaded" 600 root:root <"$WORK/loaded"
}

# The timer that updates the storage's addresses, and its first run.
keep_addresses() {
  if ! systemctl is-enabled -q lastcopy-storage.timer 2>/dev/null || ! systemctl is-active -q lastcopy-storage.timer; then
    if would "firewall timer"; then systemctl enable -q --now lastcopy-storage.timer; fi
  fi
  [ "$MODE" = apply ] || return 0
  "$LIB_DIR/refresh-storage" || refuse "the storage's addresses could not be put into the firewall" "run $LIB_DIR/refresh-storage on the host to see why"
  if [ -s "$DIR/names" ] && ! grep -q '^# lastcopy storage: begin$' /etc/hosts; then
    refuse "none of the storage's names has an address: $(tr '\n' ' ' <"$DIR/names")" "correct the storage's endpoint in the stack file, or the host's DNS, $AGAIN"
  fi
}

step_apply() {
  look
  folder "$ROOT_DIR" 755 root:root
  folder "$DIR" 700 root:root
  folder "$LIB_DIR" 755 root:root
  put_value REFRESH "$LIB_DIR/refresh-storage" 755 root:root
  put_value NAMES "$DIR/names" 600 root:root
  put_value UPDATERS "$DIR/updaters" 600 root:root
  put_value UNIT "$UNITS/lastcopy-firewall.service" 644 root:root
  put_value REFRESH_UNIT "$UNITS/lastcopy-storage.service" 644 root:root
  put_value REFRESH_TIMER "$UNITS/lastcopy-storage.timer" 644 root:root
  if changed && [ "$MODE" = apply ]; then systemctl daemon-reload; fi
  guarded_change firewall "firewall rules"
  if [ "$(value PHASE)" = confirm ]; then keep_addresses; fi
}

step_remove() {
  [ "$(value PHASE)" = apply ] || return 0
  guard_confirm firewall
  rm -rf "$STATE_DIR/guard/firewall.previous"
  systemctl disable -q --now lastcopy-storage.timer lastcopy-firewall.service 2>/dev/null || true # not there: nothing to stop
  systemctl stop -q lastcopy-storage.service 2>/dev/null || true # a run under way would load the table again
  gone "$UNITS/lastcopy-firewall.service"
  gone "$UNITS/lastcopy-storage.service"
  gone "$UNITS/lastcopy-storage.timer"
  systemctl daemon-reload
  if nft list table inet lastcopy >/dev/null 2>&1; then
    if would "remove table"; then nft delete table inet lastcopy; fi
  fi
  sed '/^# lastcopy storage: begin$/,/^# lastcopy storage: end$/d' /etc/hosts >"$WORK/hosts"
  cmp -s "$WORK/hosts" /etc/hosts || put /etc/hosts 644 root:root <"$WORK/hosts"
  gone "$DIR"
  gone "$LIB_DIR/refresh-storage"
}
