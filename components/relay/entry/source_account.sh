# shellcheck shell=sh
# shellcheck disable=SC2034 # the steps that name this prelude read: own
# source_account: prelude of the steps that need a source's account on the relay: creates and removes it.
# own: the source's own folder.
# Values: SOURCE.
KEYS=/etc/ssh/lastcopy/keys
WRAPPER=$LIB_DIR/serve-restic
MADE_BY_US='lastcopy source'

names() {
  source=$(value SOURCE)
  case $source in '' | *[!a-z0-9-]* | [!a-z]*) refuse "'$source' is not a source's name" "use a-z, 0-9 and -, a letter first" ;; esac
  account=bk-$source
  own=$ROOT_DIR/relay/$source
}

# enrolled NAME: whether a key or a folder of the source is on this relay. An account alone opens nothing: it has neither key nor password.
enrolled() { [ -e "$KEYS/bk-$1" ] || [ -e "$ROOT_DIR/relay/$1" ]; }

account() {
  entry=$(getent passwd "$account" || true)
  if [ -n "$entry" ] && [ "$(printf %s "$entry" | cut -d : -f 5)" != "$MADE_BY_US" ]; then
    refuse "account $account exists on this host and was not made by this program" "rename or remove it on the host, then run 'pulumi up' again"
  fi
  if ! getent group "$account" >/dev/null; then
    if would "group $account"; then groupadd --system "$account"; fi
  fi
  # The firewall identifies it by its first group; its own group can read its folder. The login shell is the wrapper, so there is no shell to reach.
  if [ -z "$entry" ]; then
    if would "account $account"; then
      useradd --system --gid lastcopy-sources --groups "$account" --no-create-home --home-dir / \
        --shell "$WRAPPER" --comment "$MADE_BY_US" "$account"
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

# account_gone ACCOUNT: removes it with its processes and its group.
account_gone() {
  user_gone "$1"
  if getent group "$1" >/dev/null; then
    if would "remove group $1"; then groupdel "$1"; fi
  fi
}

# unenrolled_accounts_gone: removes accounts that a killed storage step left behind. None of them belongs to a
# running step, because a host runs one step at a time.
unenrolled_accounts_gone() {
  getent passwd | grep "^bk-[^:]*:[^:]*:[^:]*:[^:]*:$MADE_BY_US:" | cut -d : -f 1 >"$WORK/accounts" || true # grep: there is none
  while read -r left; do
    enrolled "${left#bk-}" || account_gone "$left"
  done <"$WORK/accounts"
}
