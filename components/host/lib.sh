# shellcheck shell=sh
# shellcheck disable=SC2034 # the scripts that follow read these names
# Prelude of every remote step. host_step.py sends: this file, the step's values (base64), the step's script, `main "$@"`.
# Nothing runs before the last line has arrived, so a connection that is cut in the middle does nothing at all.
# Contract of a script: it defines step_apply and, where it can be undone, step_remove; stdout is one JSON line.
#   apply   make it so; running it again changes nothing
#   check   run step_apply, but report every change as drift instead; exit status 3 if there is any
#   remove  undo what apply did, as far as that should be undone
set -eu
umask 077
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
unset ENV BASH_ENV CDPATH
ROOT_DIR=/etc/lastcopy
STATE_DIR=/var/lib/lastcopy
RUN_DIR=/run/lastcopy
LIB_DIR=/usr/local/lib/lastcopy
# Every step on a host that fetches nothing itself gets "no".
V_FETCHES=

# printable: makes any text safe for an operator's terminal: lines of UTF-8 without control characters (of ASCII, and U+0080 to
# U+009F) and without characters that hide or reorder text (zero width, bidirectional). Invalid UTF-8 is removed first, so that no removal joins two halves;
# iconv lets code points above U+10FFFF pass, which are removed here.
printable() {
  tr -d '\000-\010\013-\037\177' | { if command -v iconv >/dev/null; then iconv -c -f UTF-8 -t UTF-8 2>/dev/null; else tr -cd '\t\n\040-\176'; fi; } |
    sed -e 's/\xc2[\x80-\x9f]//g' -e 's/\xd8\x9c//g' -e 's/\xe2\x80[\x8b-\x8f\xa8-\xae]//g' -e 's/\xe2\x81[\xa0-\xaf]//g' -e 's/\xef\xbb\xbf//g' \
      -e 's/\xf4[\x90-\xbf][\x80-\xbf]*//g' -e 's/[\xf5-\xff][\x80-\xbf]*//g'
}
say() { printf '%s\n' "lastcopy ${STEP}: $*" >&2; }

# value NAME: a value of this step, decoded. Values travel on stdin only, never in argv or environment.
value() { eval "printf %s \"\${V_$1}\"" | base64 -d; }

# problem WHAT FIX: note a reason to refuse; stop_on_problems prints all of them at once.
problem() { printf 'error: %s\n  fix: %s\n' "$1" "$2" >>"$WORK/problems"; }
stop_on_problems() {
  [ ! -s "$WORK/problems" ] || {
    printf 'lastcopy %s: refused on host %s; nothing was changed by this step.\n' "$STEP" "$(uname -n)" >&2
    printable <"$WORK/problems" >&2
    exit 1
  }
}
refuse() { problem "$1" "$2"; stop_on_problems; }

# would WHAT: true when this run may change things; in check mode it records drift instead.
would() {
  if [ "$MODE" = check ]; then printf '%s\n' "$1" >>"$WORK/drift"; return 1; fi
  printf '%s\n' "$1" >>"$WORK/changed"
}
changed() { [ -s "$WORK/changed" ]; }

# put PATH MODE OWNER:GROUP: stdin becomes the file, atomically and durably, only when content, mode or owner differ.
put() {
  cat >"$WORK/put"
  if [ -f "$1" ] && [ ! -L "$1" ] && cmp -s "$WORK/put" "$1" && [ "$(stat -c '%a %U:%G' "$1")" = "$2 $3" ]; then return 0; fi
  if would "file $1"; then
    put_tmp="$(dirname "$1")/.lastcopy.$$.$(basename "$1")"
    (umask 077; cat "$WORK/put" >"$put_tmp") || { rm -f "$put_tmp"; refuse "cannot write $1 (disk full or read-only?)" "free space on $(dirname "$1") and run 'pulumi up' again"; }
    chown "$3" "$put_tmp"
    chmod "$2" "$put_tmp"
    sync "$put_tmp"
    mv -f "$put_tmp" "$1"
  fi
}
put_value() { value "$1" >"$WORK/value" && put "$2" "$3" "$4" <"$WORK/value"; }

# folder PATH MODE OWNER:GROUP
folder() {
  if [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c '%a %U:%G' "$1")" = "$2 $3" ]; then return 0; fi
  [ ! -L "$1" ] || refuse "$1 is a symbolic link" "remove it on the host, then run 'pulumi up' again"
  if would "folder $1"; then
    mkdir -p "$1"
    chown "$3" "$1"
    chmod "$2" "$1"
  fi
}

# packages NAMES WHAT: installs the Debian packages that WHAT needs; false if nothing may be changed.
packages() {
  would "packages $1" || return 1
  [ "$(value FETCHES)" != no ] ||
    refuse "$2 needs Debian's packages '$1', and this host fetches nothing itself (toolsFrom: workstation)" \
      "install them on the host, from a mirror that it reaches or from files (dpkg -i): apt-get install $1; then run 'pulumi up' again"
  # shellcheck disable=SC2086 # a list of names
  DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -y -q --no-install-recommends $1 >"$WORK/apt" 2>&1 ||
    refuse "$2 needs Debian's packages '$1', which apt-get could not install: $(tail -n 1 "$WORK/apt")" \
      "install them on the host: apt-get install $1; then run 'pulumi up' again"
}

gone() {
  if [ -e "$1" ] || [ -L "$1" ]; then
    if would "remove $1"; then rm -rf -- "$1"; fi
  fi
}

# end_processes_of ACCOUNT: kills all its processes at once.
end_processes_of() {
  epo_uid=$(id -u "$1")
  for epo_process in /proc/[0-9]*; do
    if [ "$(stat -c %u "$epo_process" 2>/dev/null || true)" = "$epo_uid" ]; then
      kill -KILL "${epo_process#/proc/}" 2>/dev/null || true # it ended by itself
    fi
  done
}

# user_gone ACCOUNT: removes the account with all its processes.
user_gone() {
  getent passwd "$1" >/dev/null || return 0
  would "remove account $1" || return 0
  end_processes_of "$1"
  # A login that was in progress may still be ending.
  ug_tries=0
  until userdel "$1" 2>"$WORK/answer"; do
    ug_tries=$((ug_tries + 1))
    [ "$ug_tries" -lt 20 ] || refuse "account $1 cannot be removed: $(cat "$WORK/answer")" "end its processes on the host, then run the same command again"
    sleep 0.5
    end_processes_of "$1"
  done
}

json_string() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\t\n' | printable | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g')"; }
json_list() {
  printf '['
  if [ -s "$1" ]; then
    json_sep=
    while IFS= read -r json_line; do printf '%s%s' "$json_sep" "$(json_string "$json_line")"; json_sep=,; done <"$1"
  fi
  printf ']'
}

# fact NAME TEXT: a public value that the program reads back. Never a secret.
fact() { printf '%s%s:%s' "${FACTS:+,}" "$(json_string "$1")" "$(json_string "$2")" >>"$WORK/facts"; FACTS=1; }

report() {
  printf '{"step":"%s","mode":"%s","changed":%s,"drift":%s,"facts":{%s}}\n' \
    "$STEP" "$MODE" "$(json_list "$WORK/changed")" "$(json_list "$WORK/drift")" "$(cat "$WORK/facts")"
}

# version_at_least HAVE FLOOR: dotted numbers; a suffix such as -beta counts as older than the plain number.
version_at_least() {
  va_have=${1#v}
  case $va_have in '' | *[!0-9.]*) return 1 ;; esac
  [ "$(printf '%s\n%s\n' "$2" "$va_have" | sort -V | head -n 1)" = "$2" ]
}

# --- guarded change: a change that could lock the admin out is rolled back unless a fresh login confirms it (A3) ---
# guard_arm NAME SECONDS <restore-script: keeps the restore script, even across a reboot, and starts the timer.
guard_arm() {
  cat >"$STATE_DIR/guard/.$1.new"
  sync "$STATE_DIR/guard/.$1.new"
  mv -f "$STATE_DIR/guard/.$1.new" "$STATE_DIR/guard/$1.restore"
  cat >"$WORK/boot" <<'UNIT'
[Unit]
Description=lastcopy: undo access changes that no fresh login confirmed before the reboot
ConditionPathExistsGlob=/var/lib/lastcopy/guard/*.restore
Before=ssh.service nftables.service
DefaultDependencies=yes
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for f in /var/lib/lastcopy/guard/*.restore; do /bin/sh "$f" boot && rm -f "$f"; done'
[Install]
WantedBy=multi-user.target
UNIT
  put /etc/systemd/system/lastcopy-guard-boot.service 644 root:root <"$WORK/boot"
  systemctl enable -q lastcopy-guard-boot.service
  systemctl stop -q "lastcopy-guard-$1.timer" "lastcopy-guard-$1.service" 2>/dev/null || true # none runs: nothing to stop
  systemctl reset-failed "lastcopy-guard-$1.service" 2>/dev/null || true # as above
  systemd-run -q --collect --unit="lastcopy-guard-$1" --on-active="$2" --timer-property=AccuracySec=1s \
    /bin/sh -c 'f=/var/lib/lastcopy/guard/$1.restore; [ ! -f "$f" ] || { logger -t lastcopy "no fresh login confirmed $1: rolling back"; /bin/sh "$f" live && rm -f "$f"; }' guard "$1" >&2
}
guard_pending() { [ -f "$STATE_DIR/guard/$1.restore" ]; }
guard_confirm() {
  rm -f "$STATE_DIR/guard/$1.restore"
  systemctl stop -q "lastcopy-guard-$1.timer" 2>/dev/null || true # already elapsed or collected
}

# guarded_change NAME WHAT: both phases of a guarded change. `apply` makes it live and starts the timer; `confirm` runs in a separate login, which
# proves that the host can still be reached. The script defines is_live, go_live SECONDS, and the values PHASE and GUARD_SECONDS.
guarded_change() {
  gc_seconds=$(value GUARD_SECONDS)
  case $(value PHASE) in
    apply)
      if is_live && ! guard_pending "$1"; then return 0; fi
      if would "$2"; then start_guarded "$gc_seconds"; fi
      ;;
    confirm)
      if is_live && guard_pending "$1" && would "confirm $2"; then
        guard_confirm "$1"
        # The timer may have fired at this very moment: wait for a rollback that has begun; it is noticed below.
        while systemctl is-active -q "lastcopy-guard-$1.service"; do sleep 1; done
      fi
      if is_live; then
        [ "$MODE" = check ] || rm -rf "$STATE_DIR/guard/$1.previous"
      elif would "$2"; then
        gc_longer=$((gc_seconds * 5))
        start_guarded "$gc_longer"
        refuse "the change of the $2 was rolled back because no fresh login confirmed it within $gc_seconds seconds; it is live again, for $gc_longer seconds" \
          "run 'pulumi up' again within that time: its fresh login confirms it. If that cannot log in, the change is rolled back by itself"
      fi
      ;;
    *) refuse "unknown phase" "use apply or confirm" ;;
  esac
}
start_guarded() {
  folder "$STATE_DIR" 755 root:root
  folder "$STATE_DIR/guard" 700 root:root
  go_live "$1"
}

main() {
  MODE=$1
  DIALLED_FROM=${2-}
  GIVEN=${3-} GIVEN_SHA256=${4-} # for host_tool: a program that was handed over
  FACTS=
  [ "$(id -u)" = 0 ] || { echo "error: this step needs root; fix: let the admin account use sudo without a password" >&2; exit 1; }
  mkdir -p "$RUN_DIR"
  chmod 755 "$RUN_DIR"
  # One step at a time on a host, even if two operators run `pulumi up` at once or an earlier run was interrupted.
  exec 9>"$RUN_DIR/step.lock"
  flock -w 240 9 || { echo "error: another lastcopy step has been running on $(uname -n) for four minutes; fix: look at 'ps' there; end it or wait, then run 'pulumi up' again" >&2; exit 1; }
  # Leftovers of a killed step may contain a secret.
  rm -rf "$RUN_DIR"/step.??????
  WORK=$(mktemp -d "$RUN_DIR/step.XXXXXX") || { echo "error: cannot write below $RUN_DIR; fix: free memory or space on /run" >&2; exit 1; }
  trap 'rm -rf "$WORK"' EXIT
  trap 'exit 130' INT TERM HUP
  for list in problems changed drift facts; do : >"$WORK/$list"; done
  case $MODE in
    apply | check) step_apply ;;
    remove) step_remove ;;
    *) refuse "unknown mode '$MODE'" "use apply, check or remove" ;;
  esac
  stop_on_problems
  report
  if [ -s "$WORK/drift" ]; then exit 3; fi
}
