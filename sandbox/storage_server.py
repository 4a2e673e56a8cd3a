"""The storage host's server: minio as an unprivileged user, with TLS from a CA of its own.

It is a substitute for a real object store, and not protected from root on the workstation, who owns the files.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from sandbox.certificates import make_certificates
from toolchain.files import replace_file

STORAGE_UID = 65400  # from a range that Debian does not assign
REGION = "us-east-1"
PORT = 9000
# Copies into a private /run, because the runtime folder may be readable by root only.
SERVE_STORAGE = """\
install -o "$uid" -g "$uid" -m 0400 "$folder/root.env" /run/storage/root.env
install -o "$uid" -g "$uid" -m 0400 "$folder/certs/private.key" /run/storage/certs/private.key
install -o "$uid" -g "$uid" -m 0444 "$folder/certs/public.crt" /run/storage/certs/public.crt
cd /run/storage
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs \\
  --inh-caps=-all --bounding-set=-all \\
  env -i HOME=/run/storage/data PATH=/usr/bin:/bin MINIO_CONFIG_ENV_FILE=/run/storage/root.env \\
  ./minio server --quiet --address "$address" --certs-dir /run/storage/certs /run/storage/data
"""
START_STORAGE = f"""\
folder=$1 program=$2 address=$3 uid=$4
mkdir -m 755 /run/storage /run/storage/data /run/storage/certs
: >/run/storage/minio
mount --bind "$folder/data" /run/storage/data
mount --bind "$program" /run/storage/minio
{SERVE_STORAGE}"""


def prepare_files(folder: Path, address: str, names: Sequence[str] = ()) -> None:
    """Create root credentials and certificates, unless they exist. `names`: further names that the certificate is valid for."""
    certs = folder / "certs"
    if not (folder / "root.env").exists():
        lines = {
            "MINIO_ROOT_USER": f"root{secrets.token_hex(6)}",
            "MINIO_ROOT_PASSWORD": secrets.token_urlsafe(30),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_REGION": REGION,
        }
        replace_file(folder / "root.env", "".join(f"{name}={value}\n" for name, value in lines.items()))
    if not certs.is_dir():
        fresh = folder / ".certs.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        make_certificates(fresh, address, names)
        fresh.rename(certs)


def root_credentials(folder: Path) -> tuple[str, str]:
    """The storage's root key, for buckets, identities and tests. It never leaves the workstation."""
    pairs = dict(line.split("=", 1) for line in (folder / "root.env").read_text().splitlines())
    return pairs["MINIO_ROOT_USER"], pairs["MINIO_ROOT_PASSWORD"]
