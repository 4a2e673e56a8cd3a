# shellcheck shell=sh
# second_factor: the people who may open a tunnel to the relay, their keys and, for TOTP, their secrets and PAM's prompt (A6).
# Values: FACTOR none|fido2|totp, PEOPLE (one account a line, sorted), KEYS (account, then its authorized_keys line).
# Secrets: TOTP_0, TOTP_1 … (base32, in the order of PEOPLE).
KEYS=/etc/ssh/lastcopy/keys
TOTP=/etc/lastcopy/totp
AGAIN="then run 'pulumi up' again"

people() { value PEOPLE; }
person_by_us() { getent passwd "$1" | cut -d : -f 5 | grep -qx 'lastcopy person'; }

look() {
  people >"$WORK/people"
  while read -r person; do
    if getent passwd "$person" >/dev/null && ! person_by_us "$person"; then
      problem "account $person exists on this host and was not made by this program" "give that person another account name in the stack file"
    fi
    if [ -f "$KEYS/$person" ] && ! person_by_us "$person"; then
      problem "$KEYS/$person belongs to something else" "remove it on the host, $AGAIN"
    fi
  done <"$WORK/people"
  stop_on_problems
}

pam_module() {
  [ -e "/lib/$(uname -m)-linux-gnu/security/pam_google_authenticator.so" ] && return 0
  packages libpam-google-authenticator "the second factor TOTP" || true # a check goes on without it
}

account() { # account NAME
  if ! getent passwd "$1" >/dev/null; then
    if would "account $1"; then
      useradd --system --gid lastcopy-people --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --comment 'lastcopy person' "$1"
      usermod -p '*' "$1"
    fi
  fi
  value KEYS | sed -n "s/^$1 //p" >"$WORK/keys"
  put "$KEYS/$1" 644 root:root <"$WORK/keys"
}

# PAM's module rewrites the file at every login, so only the secret and this program's options are compared.
totp() { # totp NAME SECRET-VALUE
  value "$2" | tr -d ' ' | tr '[:lower:]' '[:upper:]' >"$WORK/secret"
  grep -Eqx '[A-Z2-7]{26,}=*' "$WORK/secret" ||
    refuse "the TOTP secret of $1 is not base32 of at least 128 bits" "make one with: head -c 20 /dev/urandom | base32 ; set it as that person's secret in the stack's configuration"
  if [ -f "$TOTP/$1" ] && [ "$(head -n 1 "$TOTP/$1")" = "$(tr -d = <"$WORK/secret")" ] && [ "$(stat -c '%a %U:%G' "$TOTP/$1")" = "600 root:root" ]; then return 0; fi
  {
    tr -d = <"$WORK/secret"
    printf '\n" RATE_LIMIT 3 30\n" WINDOW_SIZE 3\n" DISALLOW_REUSE\n" TOTP_AUTH\n'
  } | sed '/^$/d' | put "$TOTP/$1" 600 root:root
}

leavers() {
  getent passwd | awk -F : '$5 == "lastcopy person" { print $1 }' >"$WORK/ours"
  while read -r person; do
    if ! grep -qxF "$person" "$1"; then
      gone "$KEYS/$person"
      gone "$TOTP/$person"
      user_gone "$person"
    fi
  done <"$WORK/ours"
}

step_apply() {
  getent group lastcopy-people >/dev/null || { if would "group lastcopy-people"; then groupadd --system lastcopy-people; fi; }
  look
  folder /etc/ssh/lastcopy 755 root:root
  folder "$KEYS" 755 root:root
  if [ "$(value FACTOR)" = totp ]; then
    pam_module
    folder "$ROOT_DIR" 755 root:root
    folder "$TOTP" 700 root:root
    # shellcheck disable=SC2016 # PAM expands USER
    printf '%s\n' \
      'auth required pam_google_authenticator.so user=root secret=/etc/lastcopy/totp/${USER}' \
      'account include sshd' 'password include sshd' 'session include sshd' |
      put /etc/pam.d/lastcopy-sshd 644 root:root
  fi
  number=0
  while read -r person; do
    account "$person"
    [ "$(value FACTOR)" != totp ] || totp "$person" "TOTP_$number"
    number=$((number + 1))
  done <"$WORK/people"
  leavers "$WORK/people"
}

step_remove() {
  : >"$WORK/nobody"
  leavers "$WORK/nobody"
  gone "$TOTP"
  gone /etc/pam.d/lastcopy-sshd
  # The sshd step, which is removed first, cannot remove a group that is still a person's own.
  groupdel lastcopy-people 2>/dev/null || true # gone before
  for folder in "$KEYS" /etc/ssh/lastcopy "$ROOT_DIR"; do
    if [ -d "$folder" ]; then rmdir --ignore-fail-on-non-empty "$folder"; fi
  done
}
