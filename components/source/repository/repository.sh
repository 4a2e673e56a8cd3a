# shellcheck shell=sh
# repository: creates this source's repository once and never again; the stack's password opens it.
# Values: SOURCE, GENERATION. Secret: PASSWORD. Facts: repository_id, key_id, generation.
# /etc/lastcopy/repository records what was created, so that a storage which suddenly looks empty is noticed and not filled again.
recorded() { sed -n "s/^$1=//p" "$ROOT_DIR/repository" 2>/dev/null || true; } # no record yet: empty
# With a time limit, because restic retries for a quarter of an hour if the storage answers with errors.
restic_with() { restic_password=$1 && shift && timeout -k 5 80 /usr/local/bin/restic-backup --password-file "$restic_password" "$@"; }
said() { grep -Eq "$1" "$WORK/err"; }

# probe FILE: sets rc to restic's exit code; an outage is tried three times.
probe() {
  for pause in 2 6 0; do
    rc=0
    restic_with "$1" cat config --no-lock >"$WORK/config" 2>"$WORK/err" || rc=$?
    case $rc in 0 | 10 | 12) return 0 ;; 124) break ;; esac
    if said 'Host key verification failed|REMOTE HOST IDENTIFICATION|Permission denied|relay: this account is not set up|exit status 64' || [ "$rc" = 71 ]; then break; fi
    [ "$pause" = 0 ] || sleep "$pause"
  done
  [ "$rc" != 71 ] || refuse "$(sed -n 's/^restic-backup: //p' "$WORK/err")" "$(sed -n 's/^  fix: //p' "$WORK/err")"
  cat "$WORK/err" >&2
  if said 'Host key verification failed|REMOTE HOST IDENTIFICATION'; then
    refuse "the relay's host key is not the pinned one: another machine answers at its address, or the relay was rebuilt" \
      "compare the key on the relay's own console; if it is right, set it in the stack and run 'pulumi up'"
  elif said 'Permission denied'; then
    refuse "the relay does not accept this source's key" "run 'pulumi up' for the relay's entry, then this again"
  elif said 'relay: this account is not set up|exit status 64'; then
    refuse "the relay's setup for this source is incomplete" "read 'journalctl -t lastcopy' on the relay, then run 'pulumi up' again"
  fi
  refuse "the repository could not be opened (restic's exit code is $rc, its output is above); nothing was assumed about it" \
    "make sure that this host reaches the relay and the relay its storage, then run 'pulumi up' again"
}

new_generation() { echo "set the source's generation to $(($(value GENERATION) + 1)) in the stack and run 'pulumi up'"; }

refuse_password() {
  if [ -z "$same_generation" ]; then
    refuse "this source has a repository already, and the password in the stack does not open it" \
      "put its password in the stack (an earlier 'pulumi stack output passwords --show-secrets' shows it); or $(new_generation)"
  elif cmp -s "$password" "$WORK/password"; then
    refuse "the password that opened this source's repository no longer does: its key was hidden or replaced in the storage" \
      "look with the recovery steps in docs/runbook; or begin a new, empty repository: $(new_generation)"
  fi
  refuse "the password in the stack does not open this source's repository; this host has the one that does" \
    "put the old password back in the stack; or, to use the new one from now on, run 'restic-backup key add' on $(uname -n), give it the new password, and run 'pulumi up' again (the old one keeps opening what is stored, for nothing can be removed there); or, when the old one leaked, keep it for what is stored and $(new_generation): a new repository that only the new password opens"
}

refuse_missing() {
  refuse "this source has repository $(recorded id), but the storage shows none: it may be hidden by delete markers, not lost" \
    "look with the recovery steps in docs/runbook before anything else; to begin a new, empty repository instead, $(new_generation)"
}

init() {
  rc=0
  restic_with "$ROOT_DIR/password" init --json >"$WORK/config" 2>"$WORK/err" || rc=$?
  [ "$rc" != 0 ] || return 0
  if said 'already contains keys|already contains snapshots'; then
    refuse "the repository is incomplete: an earlier 'restic init' was interrupted between its key and its configuration, and nothing there can be removed; no backup was ever stored in it" \
      "$(new_generation)"
  fi
  cat "$WORK/err" >&2
  refuse "restic init failed with exit code $rc (its output is above)" "run 'pulumi up' again; it continues where this stopped"
}

read_id() {
  id=$(sed -n 's/.*"id": *"\([0-9a-f]\{64\}\)".*/\1/p' "$WORK/config") # of `cat config` or of `init --json`
  [ -n "$id" ] || refuse "restic did not say the repository's id" "run 'restic-backup cat config' on this host and look"
}

# Which key file the password opens; a new repository has one, an older one may have many.
find_key() {
  restic_with "$WORK/password" key list --json --no-lock >"$WORK/keys" 2>"$WORK/err" ||
    { cat "$WORK/err" >&2; refuse "the repository's keys cannot be listed" "run 'restic-backup key list' on this host and look"; }
  key_id=$(tr '{' '\n' <"$WORK/keys" | grep '"current":true' | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p')
  [ -n "$key_id" ] || refuse "restic did not say which key it used" "run 'restic-backup key list' on this host and look"
}

# --- canary: files that nobody uses, so that any change of them is a sign; ops/restore_test/canary.py has the same table.
# Their content follows from the repository's id, so a trusted place knows it without this host. Every snapshot contains them: never change the table.
CANARY=$STATE_DIR/canary
canaries() {
  printf '%s\n' 'README.txt words 1' 'letter.txt text 16' 'ledger.csv text 256' 'report.pdf binary 512' 'photo.jpg binary 2048' 'archive/database.sql text 512'
}

# Line N of a file's stream is the SHA-256 of "lastcopy canary ID NAME N"; a binary one is that read as base64. One sha256sum for all lines.
canary_stream() {
  rm -rf "$WORK/lines"
  mkdir "$WORK/lines"
  seq "$2" | sed "s|^|lastcopy canary $id $1 |" | split -l 1 -a 4 - "$WORK/lines/"
  (cd "$WORK/lines" && sha256sum ./????) | cut -c 1-64
}

make_canaries() {
  [ ! -e "$WORK/canary" ] || return 0
  mkdir -p "$WORK/canary/archive"
  canaries | while read -r name kind count; do
    case $kind in
      words) echo "Made by lastcopy: nobody needs these files, and nothing may change them. A change shows that somebody encrypts this host's files." ;;
      text) canary_stream "$name" "$count" ;;
      binary) canary_stream "$name" "$count" | base64 -d ;;
    esac >"$WORK/canary/$name"
  done
}

# Missing files are created. A changed file is an error: restoring it here would hide that somebody changed it.
refuse_changed_canaries() {
  [ "$(recorded id)" = "$id" ] || return 0 # those of another repository, or of none, are replaced
  make_canaries
  touched=$(canaries | while read -r name _; do
    if [ -e "$CANARY/$name" ] || [ -L "$CANARY/$name" ]; then
      if [ -L "$CANARY/$name" ] || ! cmp -s "$CANARY/$name" "$WORK/canary/$name"; then printf ' %s' "$name"; fi
    fi
  done)
  [ -z "$touched" ] ||
    refuse "canary files below $CANARY were changed:$touched; nothing of ours changes them, so most likely somebody encrypts this host's files" \
      "look at $(uname -n) before anything else; the earlier snapshots are kept. Once it is clean: 'rm -r $CANARY' there, then 'pulumi up' again"
}

plant_canaries() {
  make_canaries
  folder "$STATE_DIR" 755 root:root
  folder "$CANARY" 755 root:root
  folder "$CANARY/archive" 755 root:root
  canaries | while read -r name _; do put "$CANARY/$name" 644 root:root <"$WORK/canary/$name"; done
}

step_apply() {
  [ -x /usr/local/bin/restic-backup ] || refuse "there is no restic-backup on this host" "run 'pulumi up' again: the client step comes first"
  (umask 077; value PASSWORD >"$WORK/password")
  [ -s "$WORK/password" ] || refuse "the password is empty" "set the source's password in the stack, or leave it out and one is made"
  password=$ROOT_DIR/password
  generation=$(value GENERATION)
  same_generation=$([ "$(recorded generation)" != "$generation" ] || echo yes)

  # Tried with the stack's password before anything on this host changes.
  probe "$WORK/password"
  case $rc in
    10) [ -z "$same_generation" ] || refuse_missing ;;
    12) refuse_password ;;
  esac
  if [ "$rc" = 0 ]; then
    read_id
    if [ -n "$same_generation" ] && [ "$(recorded id)" != "$id" ]; then
      refuse "this source's repository is $(recorded id), but the relay serves $id: somebody replaced it" \
        "find out who did that before anything is stored there; to start a new repository, $(new_generation)"
    fi
    refuse_changed_canaries
  fi

  if [ -e "$password" ] && [ -z "$same_generation" ] && ! cmp -s "$password" "$WORK/password"; then
    # It may open an older repository, so it is never overwritten.
    keep="$password.$(sha256sum "$password" | cut -c 1-12)"
    if [ ! -e "$keep" ] && would "keep the older password as $keep"; then ln "$password" "$keep"; fi
  fi
  put "$password" 400 root:root <"$WORK/password"
  if [ "$rc" = 10 ]; then
    would "repository" || return 0
    init
    read_id
  fi
  key_id=
  digest=$(sha256sum "$WORK/password" | cut -d ' ' -f 1)
  [ "$(recorded password_sha256)" != "$digest" ] || [ "$(recorded id)" != "$id" ] || key_id=$(recorded key_id)
  [ -n "$key_id" ] || find_key
  plant_canaries # before the record, which says whose they are
  printf 'generation=%s\nid=%s\nkey_id=%s\npassword_sha256=%s\n' "$generation" "$id" "$key_id" "$digest" >"$WORK/record"
  put "$ROOT_DIR/repository" 400 root:root <"$WORK/record"
  fact repository_id "$id"
  fact key_id "$key_id"
  fact generation "$generation"
}
