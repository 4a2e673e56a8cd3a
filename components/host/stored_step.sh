# shellcheck shell=sh
# shellcheck disable=SC2154 # the step sets: sender
# Head of a step whose programs are in the host's store (program_store.sh); these comments are not sent.
set -eu
umask 077
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

# load NAME FILE SHA256: the variable NAME becomes the program in base64. It is read once, so what was checked is what runs.
load() {
  path=/usr/local/lib/lastcopy/programs/$3
  loaded=$(base64 -w 0 "$path") || loaded=
  [ "$(stat -c %u "$path") $(printf %s "$loaded" | base64 -d | sha256sum)" = "0 $3  -" ] || {
    printf 'error: %s on host %s is missing or is not the program that was sent (%s); nothing was run\n' "$2" "$(uname -n)" "$path" >&2
    printf "  fix: send this host's programs again: pulumi up --replace '%s'\n" "$sender" >&2
    exit 1
  }
  eval "$1=\$loaded"
}
