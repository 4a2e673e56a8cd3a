# shellcheck shell=sh
# source_key: the source's SSH key. It is made here and kept; its private part never leaves the host. Value EXPECTED: the public key in the stack, or empty.
step_apply() {
  key=$ROOT_DIR/id_ed25519
  folder "$ROOT_DIR" 755 root:root
  command -v ssh-keygen >/dev/null || refuse "ssh-keygen is not installed" "apt-get install openssh-client"
  if [ ! -e "$key" ] && [ ! -L "$key" ]; then
    would "make $key" || return 0
    ssh-keygen -q -t ed25519 -N '' -C "" -f "$WORK/key"
    put "$key" 400 root:root <"$WORK/key"
  fi
  if [ -L "$key" ] || ! ssh-keygen -y -P '' -f "$key" >"$WORK/public" 2>/dev/null || ! grep -q '^ssh-ed25519 ' "$WORK/public"; then
    refuse "$key is not an ed25519 key without passphrase; it was left as it is" \
      "move it away on the host if nothing else uses it, then run this again: a new key is made"
  fi
  cut -d ' ' -f 1,2 "$WORK/public" >"$WORK/key.pub"
  public=$(cat "$WORK/key.pub")
  expected=$(value EXPECTED)
  if [ -n "$expected" ] && [ "$expected" != "$public" ]; then
    refuse "the stack expects another key than this host's, which is: $public" \
      "set this one as the source's publicKey in the stack and run 'pulumi up', or run this on the right host"
  fi
  [ "$(stat -c '%a %U:%G' "$key")" = "400 root:root" ] || { ! would "mode of $key" || { chown root:root "$key"; chmod 400 "$key"; }; }
  put "$key.pub" 644 root:root <"$WORK/key.pub"
  fact public_key "$public"
}
