#!/bin/sh
# preview.sh STACK [FILE]: previews the stack and writes FILE (default preview.md), the text of a comment for a change that is under review.
#
# For any CI system. It needs a checkout of the change, `.venv` with requirements.txt, PULUMI_BACKEND_URL, and the passphrase
# (PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE) or the session that opens the stack's secrets. See docs/ci/README.md.
# Exit status: that of pulumi; 0 even if there are changes.
set -eu
stack=$1
file=${2:-preview.md}
limit=60000 # bytes; GitHub takes comments of 65,536 characters
cd "$(dirname "$0")/../.."

if ! command -v pulumi >/dev/null; then
  lines=$(.venv/bin/python -m toolchain env)
  eval "$lines"
fi
# A preview connects to no host. If the stack uses an agent (`admin.agent`), an empty one is enough.
if [ -z "${SSH_AUTH_SOCK:-}" ] && command -v ssh-agent >/dev/null; then
  lines=$(ssh-agent -s)
  eval "$lines" >/dev/null
  trap 'kill "$SSH_AGENT_PID"' EXIT
fi

said=$(mktemp)
code=0
pulumi preview --stack "$stack" --diff --policy-pack policy --non-interactive --color never --suppress-progress >"$said" 2>&1 || code=$?

{
  if [ "$code" -eq 0 ]; then
    echo "**\`pulumi preview\` of \`$stack\`**"
  else
    echo "**\`pulumi preview\` of \`$stack\` failed (exit status $code)**"
  fi
  echo
  echo '<details><summary>What would change</summary>'
  echo
  # A fence longer than any in the text, so that no line of it can end the block.
  echo '``````````text'
  head -c "$limit" "$said"
  echo
  echo '``````````'
  if [ "$(wc -c <"$said")" -gt "$limit" ]; then
    echo
    echo "Cut off after $limit bytes; the whole text is in the job's log."
  fi
  echo '</details>'
} >"$file"
cat "$said"
rm -f "$said"
exit "$code"
