# shellcheck shell=sh
# sshd: a drop-in that is validated before it is live, and rolled back unless a fresh login from outside confirms it (A3).
# Values: PHASE apply|confirm, ADMIN, FACTOR, GUARD_SECONDS, HOST_KEY, DROPIN_92, DROPIN_100, EXPECT_92, EXPECT_100, EXPECT_SOURCES.
MAIN=/etc/ssh/sshd_config
DROPINS=/etc/ssh/sshd_config.d
LIVE=$DROPINS/10-lastcopy.conf
AGAIN="then run 'pulumi up' again"
TAB=$(printf '\t')

openssh_version() { ssh -V 2>&1 | sed -n 's/^OpenSSH_\([0-9.]*\).*/\1/p'; }
is_loopback() { case ${1%% *} in 127.* | ::1) ;; *) return 1 ;; esac; }

look_at_host() {
  os_id='' os_version=''
  if [ -r /etc/os-release ]; then
    os_id=$(. /etc/os-release && printf %s "${ID-}")
    os_version=$(. /etc/os-release && printf %s "${VERSION_ID-}")
  fi
  [ "$os_id" = debian ] && version_at_least "${os_version:-0}" 12 ||
    problem "this host runs ${os_id:-an unknown system} ${os_version}, not Debian 12 or newer" "give the relay a host with Debian 12 or 13"
  [ -d /run/systemd/system ] || problem "systemd does not run this host" "give the relay a host that boots with systemd"
  command -v sshd >/dev/null || refuse "sshd is not installed" "apt-get install openssh-server on the host, $AGAIN"
  ssh_version=$(openssh_version)
  version_at_least "${ssh_version%p*}" 9.2 || problem "OpenSSH ${ssh_version:-unknown} is older than 9.2" "upgrade the host to Debian 12 or newer"
  ! systemctl is-active -q ssh.socket ||
    problem "ssh.socket starts sshd on demand, so a configuration's port and reload do not take effect" "on the host: systemctl disable --now ssh.socket && systemctl enable --now ssh.service, $AGAIN"
  include=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$MAIN" | head -n 1 | tr -s ' \t' '  ')
  case ${include% } in
    "Include $DROPINS/*.conf") ;;
    *) problem "$MAIN does not begin with its drop-in folder, so settings there would win over ours" "make 'Include $DROPINS/*.conf' the first line of $MAIN, $AGAIN" ;;
  esac
  if [ -f /etc/ssh/ssh_host_ed25519_key.pub ]; then
    host_key=$(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)
    [ "$host_key" = "$(value HOST_KEY | cut -d ' ' -f 1,2)" ] ||
      problem "the stack pins another host key than this host's ed25519 key, the only one that sshd will offer" "set the relay's host key in the stack file to: $host_key"
  else
    problem "this host has no ed25519 host key" "on the host: ssh-keygen -A, then pin /etc/ssh/ssh_host_ed25519_key.pub in the stack file"
  fi
  id "$ADMIN" >/dev/null 2>&1 || problem "the admin account '$ADMIN' does not exist on this host" "create it, or correct the admin's user in the stack file"
  stop_on_problems
  if version_at_least "${ssh_version%p*}" 10.0; then suffix=100; else suffix=92; fi
  value "DROPIN_$suffix" >"$WORK/dropin"
  value "EXPECT_$suffix" >"$WORK/expect"
  [ -s "$WORK/dropin" ] || refuse "second factor '$(value FACTOR)' needs OpenSSH 10, this host has $ssh_version" "use the second factor fido2, or a host with Debian 13"
}

# With a second factor the engine can log in only through the tunnel, so this run must have come through it (A6).
look_at_dial() {
  [ "$(value FACTOR)" != none ] && [ "$MODE" = apply ] || return 0
  is_loopback "$DIALLED_FROM" || refuse \
    "with a second factor the engine's key works only through a tunnel that a person opened, and this run did not come through one" \
    "a person in the stack's list runs: ssh -N -L 2222:127.0.0.1:$(sed -n 's/^Port //p' "$WORK/dropin") PERSON@RELAY; set the relay's address to 127.0.0.1 and its port to 2222, $AGAIN"
}

# The new configuration, beside the live one.
candidate() {
  mkdir -p /run/sshd "$WORK/d"
  find "$DROPINS" -maxdepth 1 -name '*.conf' -exec cp {} "$WORK/d/" \;
  cp "$WORK/dropin" "$WORK/d/${LIVE##*/}"
  sed "s|^[[:space:]]*Include[[:space:]]*$DROPINS/\*\.conf|Include $WORK/d/*.conf|" "$MAIN" >"$WORK/sshd_config"
  sshd -t -f "$WORK/sshd_config" 2>"$WORK/answer" ||
    refuse "sshd refuses the new configuration: $(tr '\n' ' ' <"$WORK/answer")" "look at the other files in $DROPINS and at $MAIN; the live configuration was not touched"
}

# effective USER: the candidate's settings for a login of that account from the address of this run.
effective() {
  dialled=${DIALLED_FROM%% *}
  sshd -T -f "$WORK/sshd_config" -C "user=$1,host=lastcopy.invalid,addr=${dialled:-192.0.2.1}" 2>/dev/null
}

# expect FILE EFFECTIVE WHO: of every keyword in FILE there must be exactly these lines and no others.
expect() {
  sort "$1" >"$WORK/want"
  sort "$2" >"$WORK/have"
  # A line for each keyword that differs: the wanted value, a tab, the value that sshd would use.
  awk '
    { word = tolower($1) }
    FILENAME == ARGV[1] { if (!(word in want)) words[++count] = word; want[word] = want[word] $0 ";"; next }
    word in want { have[word] = have[word] $0 ";" }
    END { for (n = 1; n <= count; n++) if (want[words[n]] != have[words[n]]) print want[words[n]] "\t" have[words[n]] }
  ' "$WORK/want" "$WORK/have" >"$WORK/differs"
  while IFS="$TAB" read -r wanted would_use; do
    problem "for $3 sshd would use '$would_use' instead of '$wanted'" "remove that setting from $MAIN and the other files in $DROPINS, $AGAIN"
  done <"$WORK/differs"
  # Lists that only grow: a drop-in cannot remove entries.
  ! grep -Ei '^(denyusers|denygroups|allowusers) ' "$2" >"$WORK/have" ||
    problem "other sshd files say '$(tr '\n' ';' <"$WORK/have")', which decides beside ours who may come in" "remove it from $MAIN and $DROPINS, $AGAIN"
  ! grep -i '^acceptenv ' "$2" | grep -Evi '^acceptenv (LANG|LC_\*|COLORTERM|NO_COLOR)$' >"$WORK/have" ||
    problem "for $3 sshd would accept environment variables: '$(tr '\n' ';' <"$WORK/have")'" "remove those AcceptEnv lines from $MAIN and $DROPINS, $AGAIN"
}

# keys_of_command: the output of the program that sshd asks for keys, such as that of a directory service (sss_ssh_authorizedkeys). It runs as
# in sshd, with the account that is configured for it. Fails if none is configured.
keys_of_command() {
  command=$(sed -n 's/^authorizedkeyscommand //p' "$WORK/admin")
  asker=$(sed -n 's/^authorizedkeyscommanduser //p' "$WORK/admin")
  case $command in none | '') return 1 ;; *' '*) ;; *) command="$command %u" ;; esac
  command=$(printf %s "$command" | sed -e "s|%h|$home|g" -e "s|%u|$ADMIN|g" -e "s|%U|$(id -u "$ADMIN")|g" -e 's|%%|%|g')
  set -f
  # shellcheck disable=SC2086 # sshd splits it as well
  timeout -k 5 30 setpriv --reuid "$asker" --regid "$(id -g "$asker")" --init-groups -- env -i PATH="$PATH" $command 2>/dev/null </dev/null || true
  set +f
}

# There must be a key that the new rules accept, in the place where they look for it.
admin_has_key() {
  home=$(getent passwd "$ADMIN" | cut -d : -f 6)
  types=$(sed -n 's/^pubkeyacceptedalgorithms //p' "$WORK/admin" | sed -e 's/rsa-sha2-[0-9]*/ssh-rsa/g' -e 's/[.]/[.]/g' | tr ',' '|')
  if keys_of_command >"$WORK/keys" && grep -Eq "(^|[[:space:]])($types) +AAAA" "$WORK/keys"; then return 0; fi
  # shellcheck disable=SC2013 # the setting is a list of words
  for file in $(sed -n 's/^authorizedkeysfile //p' "$WORK/admin" | sed -e "s|%h|$home|g" -e "s|%u|$ADMIN|g"); do
    case $file in /*) ;; *) file=$home/$file ;; esac
    if [ -f "$file" ] && grep -Ev '^[[:space:]]*#' "$file" | grep -Eq "(^|[[:space:]])($types) +AAAA"; then return 0; fi
  done
  return 1
}

judge() {
  effective "$ADMIN" >"$WORK/admin" || refuse "sshd -T fails for $ADMIN" "run it on the host to see why, $AGAIN"
  effective bk-any >"$WORK/source" || refuse "sshd -T fails for a source's account" "run it on the host to see why, $AGAIN"
  expect "$WORK/expect" "$WORK/admin.common" "$ADMIN"
  value EXPECT_SOURCES >"$WORK/expect-sources"
  expect "$WORK/expect-sources" "$WORK/source" "sources"
  admin_has_key || problem "$ADMIN has no authorized key of an accepted kind: $(sed -n 's/^pubkeyacceptedalgorithms //p' "$WORK/admin")" "add an ed25519 public key to $ADMIN's ~/.ssh/authorized_keys, $AGAIN"
  stop_on_problems
}

group_exists() { getent group "$1" >/dev/null; }
in_group() { id -Gn "$1" | tr ' ' '\n' | grep -qx "$2"; }
accounts() {
  for group in lastcopy-admins lastcopy-people lastcopy-sources; do
    if ! group_exists "$group"; then
      if would "group $group"; then groupadd --system "$group"; fi
    fi
  done
  if ! group_exists lastcopy-admins || ! in_group "$ADMIN" lastcopy-admins; then
    if would "$ADMIN in lastcopy-admins"; then usermod -aG lastcopy-admins "$ADMIN"; fi
  fi
  folder /etc/ssh/lastcopy 755 root:root
  folder /etc/ssh/lastcopy/keys 755 root:root
}

# The restore script, written before anything changes; `boot` means that sshd is not up yet.
restore_script() {
  printf 'set -eu\numask 022\n'
  if [ -f "$STATE_DIR/guard/sshd.previous" ]; then
    # If it is already gone, an earlier rollback was interrupted after its last step.
    printf '[ ! -f %s/guard/sshd.previous ] || { cp %s/guard/sshd.previous %s.back; chmod 644 %s.back; mv -f %s.back %s; }\n' \
      "$STATE_DIR" "$STATE_DIR" "$LIVE" "$LIVE" "$LIVE" "$LIVE"
  else
    printf 'rm -f %s\n' "$LIVE"
  fi
  printf 'sync %s\nrm -f %s/guard/sshd.previous\n' "$DROPINS" "$STATE_DIR"
  # An sshd that failed over its configuration cannot be reloaded; a restart leaves open sessions alone.
  printf '[ "$1" = boot ] || { systemctl reset-failed ssh.service || true; systemctl restart ssh.service; }\n'
}

# A restart returns when sshd listens again, and leaves open sessions alone. A reload returns before sshd has handled the signal: the login that
# confirms the new configuration could then be accepted by the old one.
take_effect() {
  systemctl reset-failed ssh.service 2>/dev/null || true # only so that restarts in a row are not taken for crashes
  systemctl restart ssh.service
}

go_live() { # go_live SECONDS
  # A rollback restores the file that was confirmed last, never an unconfirmed one.
  if ! guard_pending sshd; then
    rm -f "$STATE_DIR/guard/sshd.previous"
    if [ -f "$LIVE" ]; then cp "$LIVE" "$STATE_DIR/guard/sshd.previous" && sync "$STATE_DIR/guard/sshd.previous"; fi
  fi
  restore_script >"$WORK/restore"
  guard_arm sshd "$1" <"$WORK/restore"
  put "$LIVE" 644 root:root <"$WORK/dropin"
  take_effect || refuse "sshd did not start again" "the previous configuration comes back by itself within $1 seconds; see 'journalctl -u ssh' on the host"
}

is_live() { [ -f "$LIVE" ] && cmp -s "$WORK/dropin" "$LIVE"; }

step_apply() {
  ADMIN=$(value ADMIN)
  look_at_host
  look_at_dial
  candidate
  # The loopback exception for the engine must not hide what everyone else gets.
  sshd -T -f "$WORK/sshd_config" -C "user=lastcopy-nobody,host=lastcopy.invalid,addr=192.0.2.1" >"$WORK/admin.common" 2>/dev/null ||
    refuse "sshd -T fails" "run it on the host to see why, $AGAIN"
  judge
  accounts
  guarded_change sshd "sshd configuration"
  fact openssh "$ssh_version"
  fact debian "$os_version"
}

step_remove() {
  [ "$(value PHASE)" = apply ] || return 0
  guard_confirm sshd
  gone "$STATE_DIR/guard/sshd.previous"
  gone "$LIVE"
  if changed; then
    sshd -t || refuse "sshd refuses the configuration without ours" "look at $MAIN and $DROPINS on the host"
    take_effect || refuse "sshd did not start again" "look at 'journalctl -u ssh' on the host"
  fi
  # The last of this program's steps on the host: also remove the shared folders, unless they still contain something.
  systemctl disable -q lastcopy-guard-boot.service 2>/dev/null || true # never armed: not there
  gone /etc/systemd/system/lastcopy-guard-boot.service
  for folder in /etc/ssh/lastcopy/keys /etc/ssh/lastcopy "$STATE_DIR/guard" "$STATE_DIR" "$LIB_DIR" "$ROOT_DIR"; do
    if [ -d "$folder" ]; then rmdir --ignore-fail-on-non-empty "$folder"; fi
  done
  for group in lastcopy-admins lastcopy-people lastcopy-sources; do
    groupdel "$group" 2>/dev/null || true # somebody's first group, or gone before
  done
}
