# shellcheck shell=sh
# host_tool: rclone or restic no older than allowed: the host's own, one that was handed over, or the official release signed by its makers (A4).
# Values: TOOL, FLOOR, VERSION, WHY, ARCHITECTURES (Debian's name and the makers', one a line), FREE_MIB, ARCHIVE, SUMS, SIGNATURE ("inline"
# or a URL), KEYS (URLs), FINGERPRINT; this script fills in {arch}. FETCHES "no": it fetches nothing.
# The third and fourth arguments of the whole script: the file of a program that was handed over, and its SHA-256.
AGAIN="then run 'pulumi up' again"

version_of() { env -i PATH="$PATH" HOME="$WORK" timeout 30 "$1" version 2>/dev/null | sed -n '1s/^[a-z]* v\{0,1\}\([^ ]*\).*/\1/p'; }
fits() { version_at_least "$(version_of "$1")" "$(value FLOOR)"; }

# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null || missing="${missing:+$missing }$2"; }

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

# The makers' name for this host's architecture.
architecture() {
  debian_arch=$(dpkg --print-architecture)
  arch=$(value ARCHITECTURES | sed -n "s/^$debian_arch //p")
  [ -n "$arch" ] || cannot "there is none for this host's architecture $debian_arch (there are: $(value ARCHITECTURES | cut -d ' ' -f 1 | tr '\n' ' ' | sed 's/ $//'))"
}

# --- disk space: a program has 40 to 90 MB, and /run only a tenth or a fifth of the memory, so it is unpacked on the file system where it will stay ---
free_mib() {
  place=$LIB_DIR
  until [ -d "$place" ]; do place=$(dirname "$place"); done
  echo "$(($(df -Pk "$place" | awk 'NR == 2 { print $4 }') / 1024))"
}

# Leftovers of a killed run; only one runs on a host at a time.
clear_leftovers() { rm -rf "$LIB_DIR"/.unpack.??????; }

workplace() { # workplace MIB
  have=$(free_mib)
  [ "$have" -ge "$1" ] ||
    refuse "$tool $(value VERSION) needs $1 MiB of disk space below $LIB_DIR, where $have MiB are free" "free that space (df -h ${LIB_DIR%/*}), $AGAIN"
  folder "$LIB_DIR" 755 root:root
  unpack=$(mktemp -d "$LIB_DIR/.unpack.XXXXXX")
  trap 'rm -rf "$WORK" "$unpack"' EXIT
}

unpacked() { # unpacked ARCHIVE: the one program in it, as $unpack/program
  case $1 in
    *.deb) mkdir "$unpack/tree" && dpkg-deb -x "$1" "$unpack/tree" && mv "$unpack/tree/usr/bin/$tool" "$unpack/program" ;;
    *.bz2) bzip2 -dc "$1" >"$unpack/program" ;;
    *) mv "$1" "$unpack/program" ;;
  esac
}

fetch_release() {
  archive=$(filled "$(value ARCHIVE)")
  protocols='=https'
  case $archive in http://127.0.0.1:*) protocols='=http,https' ;; esac # the tests' own server; nothing else listens for us there
  missing=''
  need curl "curl ca-certificates"
  need gpg gpg
  case $archive in *.bz2) need bzip2 bzip2 ;; esac
  [ -z "$missing" ] ||
    packages "$missing" "no $tool $(value FLOOR) or newer on this host (found: ${seen:-none}; older ones are refused: $(value WHY)): fetching the official release"
  file=$unpack/${archive##*/}
  fetch "$archive" "$file" || cannot "$archive: $(sed 's/^curl: //' "$WORK/curl")"
  fetch "$(filled "$(value SUMS)")" "$WORK/sums" || cannot "$(value SUMS): $(sed 's/^curl: //' "$WORK/curl")"
  keyring || cannot "the makers' signing key $(value FINGERPRINT) was not found at $(value KEYS)"
  signed || cannot "its checksums are NOT signed by the makers' key $(value FINGERPRINT): somebody may have tampered with them"
  want=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]${archive##*/}\$/\1/p" "$WORK/verified")
  [ -n "$want" ] || cannot "${archive##*/} is not in the makers' checksums"
  [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" = "$want" ] || cannot "its SHA-256 is not the one that the makers signed: somebody may have tampered with it"
  unpacked "$file" || cannot "${archive##*/} cannot be unpacked"
}

# The program that was handed over must be the one that was sent. The copy is checked, so that nobody can change it after the check.
take_given() {
  case $GIVEN in
    "$LIB_DIR"/.given.*) mv "$GIVEN" "$unpack/program" ;; # root's own folder: a second copy would only need space
    *) cp "$GIVEN" "$unpack/program" 2>"$WORK/cp" || refuse "$GIVEN cannot be read: $(cat "$WORK/cp")" "give the path of the file that \`lastcopy tools host $tool\` wrote" ;;
  esac
  [ "$(sha256sum <"$unpack/program" | cut -d ' ' -f 1)" = "$GIVEN_SHA256" ] ||
    refuse "the $tool that was handed over is not the one that was sent: its SHA-256 is not $GIVEN_SHA256" "hand it over again; if this stays, somebody may have tampered with it on its way"
}

# into_place: installs completely or not at all, and only a program that itself reports a version that is new enough.
into_place() {
  chown root:root "$unpack/program"
  chmod 755 "$unpack/program"
  fits "$unpack/program" || cannot "it does not run on this host, or says itself that it is another version: '$(version_of "$unpack/program")'"
  sync "$unpack/program"
  folder "${own%/*}" 755 root:root
  mv -f "$unpack/program" "$own"
  sync "${own%/*}"
}

install_tool() {
  if [ -n "$GIVEN" ]; then
    workplace 0 # its sender has looked
    take_given
  elif [ "$(value FETCHES)" = no ]; then
    refuse "no $tool $(value FLOOR) or newer on this host (found: ${seen:-none}), which fetches nothing itself (toolsFrom: workstation), and none was handed over. Older ones are refused: $(value WHY)" \
      "hand it over again: pulumi up --replace URN, with the URN of this host's $tool-hand-over (pulumi stack --show-urns); or install it as /usr/local/bin/$tool on the host"
  else
    architecture
    workplace "$(value FREE_MIB)"
    fetch_release
  fi
  into_place
}

step_apply() {
  tool=$(value TOOL)
  own=$LIB_DIR/$tool-$(value VERSION)/$tool
  seen=''
  path=''
  [ "$MODE" = check ] || clear_leftovers
  for candidate in "$own" "/usr/local/bin/$tool" "/usr/bin/$tool"; do
    if [ -x "$candidate" ]; then
      if fits "$candidate"; then path=$candidate && break; fi
      seen="${seen:+$seen, }$candidate $(version_of "$candidate")"
    fi
  done
  if [ -z "$path" ]; then
    if would "install $tool $(value VERSION)"; then
      install_tool
      path=$own
    else # what the workstation needs to know to hand one over
      fact architecture "$(dpkg --print-architecture)"
      fact free_mib "$(free_mib)"
      return 0
    fi
  fi
  fact version "$(version_of "$path")"
  fact path "$path"
}
