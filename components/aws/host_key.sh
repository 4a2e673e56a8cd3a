# shellcheck shell=sh
# host_key: makes the machine's own host key and removes its first one, in two steps that may be interrupted anywhere (A1, A7).
# Values: PHASE make|retire, BORN_WITH (that key's public half).
# A machine in a cloud boots with an ECDSA key from its user data. `make` connects with that key and adds an ed25519 key. sshd
# then offers both, so the run after an interruption gets in with whichever it knows. `retire` connects with the new key and removes the old one.
DIR=/etc/ssh
OWN=$DIR/ssh_host_ed25519_key
FRESH=$DIR/.lastcopy-host-key
RECORD=$STATE_DIR/host-key.pub
AGAIN="then run 'pulumi up' again"

public_of() { ssh-keygen -y -P '' -f "$1" 2>/dev/null | cut -d ' ' -f 1,2; }
# Only a key that this step made here counts: others may know the key of an image.
own_is_ours() { [ -s "$OWN" ] && [ -s "$RECORD" ] && [ "$(public_of "$OWN")" = "$(cat "$RECORD")" ]; }

# offered KIND: the key that sshd offers to a client that wants this type.
offered() {
  port=$(sshd -T -C user=lastcopy-nobody,host=lastcopy.invalid,addr=192.0.2.1 2>/dev/null | sed -n 's/^port //p' | head -n 1)
  ssh-keyscan -T 5 -p "${port:-22}" -t "$1" 127.0.0.1 2>/dev/null | sed -n 's/^[^#][^ ]* //p' | cut -d ' ' -f 1,2
}
# A restart returns when sshd listens again, and leaves open sessions alone. A reload returns before sshd has handled the signal: until then it
# answers with its old keys, and while it restarts not at all.
take_effect() {
  sshd -t 2>"$WORK/answer" || refuse "sshd refuses its configuration: $(tr '\n' ' ' <"$WORK/answer")" "look at $DIR on the host, $AGAIN"
  systemctl reset-failed ssh.service 2>/dev/null || true # only so that restarts in a row are not taken for crashes
  systemctl restart ssh.service || refuse "sshd did not start again" "look at 'journalctl -u ssh' on the host, $AGAIN"
}
# comes_true COMMAND...: succeeds within ten seconds, because a busy sshd lets connections wait.
comes_true() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    if "$@"; then return 0; fi
    sleep 1
  done
  return 1
}

# The first boot's own work continues after sshd is up, and holds apt's lock.
first_boot_is_over() {
  command -v cloud-init >/dev/null && [ ! -e /etc/cloud/cloud-init.disabled ] && [ "$MODE" = apply ] || return 0
  timeout 400 cloud-init status --wait >"$WORK/boot" 2>&1 || true # what failed is looked for below, by its result
  if ! command -v unattended-upgrade >/dev/null; then
    DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -y -q --no-install-recommends unattended-upgrades >"$WORK/apt" 2>&1 ||
      refuse "the first boot did not install unattended-upgrades, and apt-get cannot: $(tail -n 1 "$WORK/apt")" "let the machine reach Debian's mirrors (ports 80 and 443), $AGAIN"
  fi
}

make_key() {
  if ! own_is_ours && would "host key"; then
    folder "$STATE_DIR" 755 root:root
    rm -f "$FRESH" "$FRESH.pub"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$FRESH"
    sync "$FRESH"
    # First the record, then the key: after an interruption in between a new key is made, and nobody knows this one.
    public_of "$FRESH" | put "$RECORD" 644 root:root
    mv -f "$FRESH" "$OWN"
    rm -f "$FRESH.pub"
    sync "$DIR"
  fi
  own_is_ours || return 0 # check mode: there is drift to report, and no key
  put "$OWN.pub" 644 root:root <"$RECORD"
  if [ "$(offered ed25519)" != "$(cat "$RECORD")" ] && would "sshd offers the host key"; then
    take_effect
    comes_true is_offered || refuse "sshd does not offer its ed25519 host key" "remove HostKey and HostKeyAlgorithms lines from $DIR/sshd_config and $DIR/sshd_config.d on the host, $AGAIN"
  fi
  fact public_key "$(cat "$RECORD")"
}
is_offered() { [ "$(offered ed25519)" = "$(cat "$RECORD")" ]; }
# That no key is offered proves something only if sshd answers: it may be down, or punish this address for connections without a login.
is_retired() { is_offered && [ -z "$(offered ecdsa)$(offered rsa)" ] && is_offered; }

retire_key() {
  own_is_ours || refuse "the machine's ed25519 host key is not the one that this program made" "replace the machine: raise lastcopy:intermediate.ec2.generation"
  [ "$(cat "$RECORD")" != "$(value BORN_WITH)" ] || refuse "the machine's own host key is the one that it was born with" "replace the machine: raise lastcopy:intermediate.ec2.generation"
  for file in "$DIR"/ssh_host_*; do
    case $file in "$OWN" | "$OWN.pub" | "$DIR/ssh_host_*") ;; *) gone "$file" ;; esac
  done
  # The first boot's work is done. If cloud-init did it again, for example because the cloud's metadata cannot be reached at a boot, it would make
  # new host keys or restore the first one. The network configuration that it wrote stays.
  if [ -d /etc/cloud ]; then put /etc/cloud/cloud-init.disabled 644 root:root </dev/null; fi
  if ! is_retired && would "sshd offers one host key"; then
    take_effect
    comes_true is_retired || refuse "sshd still offers a host key that is not its own" "remove HostKey lines from $DIR/sshd_config and $DIR/sshd_config.d on the host, $AGAIN"
  fi
}

step_apply() {
  for command in sshd ssh-keygen ssh-keyscan; do
    command -v "$command" >/dev/null || refuse "$command is missing on this host" "use an image with Debian's openssh-server and openssh-client"
  done
  case $(value PHASE) in
    make)
      first_boot_is_over
      make_key
      ;;
    retire) retire_key ;;
    *) refuse "unknown phase" "use make or retire" ;;
  esac
}

step_remove() { :; }
