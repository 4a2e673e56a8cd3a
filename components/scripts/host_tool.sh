# shellcheck shell=sh
# host_tool: rclone or restic at or above its floor: the host's own, or the official release that its makers signed (A4).
# Values: TOOL, FLOOR, VERSION, WHY, ARCHIVE, SUMS, SIGNATURE ("inline" or a URL), KEYS (URLs), FINGERPRINT, MEMBER; {arch} is filled in here.
AGAIN="then run 'pulumi up' again"

version_of() { env -i PATH="$PATH" HOME="$WORK" timeout 30 "$1" version 2>/dev/null | sed -n '1s/^[a-z]* v\{0,1\}\([^ ]*\).*/\1/p'; }
fits() { version_at_least "$(version_of "$1")" "$(value FLOOR)"; }

# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null || packages="${packages:+$packages }$2"; }

fetch() { # fetch URL FILE
  env -i PATH="$PATH" HOME="$WORK" ${https_proxy:+https_proxy="$https_proxy"} \
    curl -fsSL --proto "$protocols" --proto-redir "$protocols" --connect-timeout 10 --max-time 200 --retry 2 -o "$2" -- "$1" 2>"$WORK/curl"
}

cannot() { # cannot WHY
  refuse "no $tool $(value FLOOR) or newer on this host (found: ${seen:-none}), and the official release was not installed: $1. Older ones are refused: $(value WHY)" \
    "install $tool $(value FLOOR) or newer as /usr/local/bin/$tool on the host, $AGAIN"
}

keyring() {
  mkdir -m 700 "$WORK/gnupg"
  for url in $(value KEYS); do
    if fetch "$(filled "$url")" "$WORK/key" && gpg --homedir "$WORK/gnupg" --batch --quiet --import "$WORK/key" 2>/dev/null; then :; fi
    if gpg --homedir "$WORK/gnupg" --batch --with-colons --list-keys "$(value FINGERPRINT)" >/dev/null 2>&1; then return 0; fi
  done
  return 1
}

# The signature must be by the pinned key itself or a subkey of it; `gpg --verify` alone accepts any key of the ring.
signed() {
  if [ "$(value SIGNATURE)" = inline ]; then
    gpg --homedir "$WORK/gnupg" --batch --status-fd 3 --output "$WORK/verified" --decrypt "$WORK/sums" 3>"$WORK/status" 2>/dev/null || return 1
  else
    fetch "$(filled "$(value SIGNATURE)")" "$WORK/signature" || return 1
    gpg --homedir "$WORK/gnupg" --batch --status-fd 3 --verify "$WORK/signature" "$WORK/sums" 3>"$WORK/status" 2>/dev/null || return 1
    cp "$WORK/sums" "$WORK/verified"
  fi
  grep '^\[GNUPG:\] VALIDSIG ' "$WORK/status" | grep -q " $(value FINGERPRINT)\$"
}

filled() { printf %s "$1" | sed "s/{arch}/$arch/g"; }

unpacked() { # unpacked ARCHIVE: the one program in it, as $WORK/program
  case $1 in
    *.deb) mkdir "$WORK/tree" && dpkg-deb -x "$1" "$WORK/tree" && mv "$WORK/tree/usr/bin/$tool" "$WORK/program" ;;
    *.bz2) bzip2 -dc "$1" >"$WORK/program" ;;
    *) cp "$1" "$WORK/program" ;;
  esac
}

install_release() {
  arch=$(dpkg --print-architecture)
  archive=$(filled "$(value ARCHIVE)")
  protocols='=https'
  case $archive in http://127.0.0.1:*) protocols='=http,https' ;; esac # the tests' own server; nothing else listens for us there
  packages=''
  need curl "curl ca-certificates"
  need gpg gpg
  case $archive in *.bz2) need bzip2 bzip2 ;; esac
  if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive timeout 200 apt-get install -y -q --no-install-recommends $packages >"$WORK/apt" 2>&1 ||
      cannot "it needs the packages '$packages', which apt-get could not install ($(tail -n 1 "$WORK/apt"))"
  fi
  file=$WORK/${archive##*/}
  fetch "$archive" "$file" || cannot "$archive: $(sed 's/^curl: //' "$WORK/curl")"
  fetch "$(filled "$(value SUMS)")" "$WORK/sums" || cannot "$(value SUMS): $(sed 's/^curl: //' "$WORK/curl")"
  keyring || cannot "the makers' signing key $(value FINGERPRINT) was not found at $(value KEYS)"
  signed || cannot "its checksums are NOT signed by the makers' key $(value FINGERPRINT): somebody may have tampered with them"
  want=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]${archive##*/}\$/\1/p" "$WORK/verified")
  [ -n "$want" ] || cannot "${archive##*/} is not in the makers' checksums"
  [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" = "$want" ] || cannot "its SHA-256 is not the one that the makers signed: somebody may have tampered with it"
  unpacked "$file" || cannot "${archive##*/} cannot be unpacked"
  folder "$LIB_DIR" 755 root:root
  folder "$LIB_DIR/$tool-$(value VERSION)" 755 root:root
  put "$own" 755 root:root <"$WORK/program"
  fits "$own" || { rm -f "$own"; cannot "what it holds says it is version '$(version_of "$own")'"; }
}

step_apply() {
  tool=$(value TOOL)
  own=$LIB_DIR/$tool-$(value VERSION)/$tool
  seen=''
  path=''
  for candidate in "$own" "/usr/local/bin/$tool" "/usr/bin/$tool"; do
    if [ -x "$candidate" ]; then
      if fits "$candidate"; then path=$candidate && break; fi
      seen="${seen:+$seen, }$candidate $(version_of "$candidate")"
    fi
  done
  if [ -z "$path" ]; then
    if would "install $tool $(value VERSION)"; then install_release; path=$own; else return 0; fi
  fi
  fact version "$(version_of "$path")"
  fact path "$path"
}
