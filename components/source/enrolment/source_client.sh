# shellcheck shell=sh
# source_client: how this host connects to the relay, and the wrapper that runs restic through it.
# Values: KNOWN_HOSTS, SSH_CONFIG, RESTIC_CONF.
# program: WRAPPER restic-backup
step_apply() {
  [ -x /usr/bin/ssh ] || refuse "there is no /usr/bin/ssh" "apt-get install openssh-client"
  folder "$ROOT_DIR" 755 root:root
  value SSH_CONFIG >"$WORK/ssh_config"
  # Checked by this host's own ssh before it is live: a version that lacks an option fails here, not at night.
  /usr/bin/ssh -G -F "$WORK/ssh_config" relay >/dev/null 2>"$WORK/ssh_error" ||
    refuse "this host's ssh does not take the configuration: $(head -n 1 "$WORK/ssh_error")" "OpenSSH 8.5 or newer is needed"
  put "$ROOT_DIR/ssh_config" 600 root:root <"$WORK/ssh_config"
  put_value KNOWN_HOSTS "$ROOT_DIR/known_hosts" 600 root:root
  put_value RESTIC_CONF "$ROOT_DIR/restic.conf" 600 root:root
  folder /var/cache/lastcopy 700 root:root
  put_value WRAPPER /usr/local/bin/restic-backup 755 root:root
}

# Key, password and the repository's record stay: this host may hold the only copies.
step_remove() {
  gone /usr/local/bin/restic-backup
  gone "$ROOT_DIR/ssh_config"
  gone "$ROOT_DIR/known_hosts"
  gone "$ROOT_DIR/restic.conf"
  gone /var/cache/lastcopy
}
