# shellcheck shell=sh
# shellcheck disable=SC2154 # program_texts.py sets: usual, usual_count
# Beside every script in a host's store: reads the values of a step, which are not base64 there. These comments are not sent.
value() { eval "printf %s \"\${V_$1}\""; }

# values TEXT: the values of this step, as program_texts.py abridges them. Awk makes assignments of them; the last one shows that it did.
values() {
  unset all_values
  eval "$(printf '%s\n' "$usual" "$1" | awk -v usual_count="$usual_count" '
    NR <= usual_count { usual[NR] = $0; next }
    /^@/ { split(substr($0, 2), range, "-"); for (i = range[1] + 0; i <= range[2] + 0; i++) line(usual[i]); next }
    { line($0) }
    END { print end "all_values=read" }
    function line(text) {
      if (text ~ /^:/) { printf "%sV_%s=\047", end, substr(text, 2); end = "\047\n"; separator = ""; return }
      sub(/^\+/, "", text)
      gsub(/\047/, "\047\\\047\047", text)
      printf "%s%s", separator, text
      separator = "\n"
    }')"
  [ "${all_values-}" = read ] || { echo "error: the values of $STEP cannot be read; nothing was run" >&2; exit 1; }
}
