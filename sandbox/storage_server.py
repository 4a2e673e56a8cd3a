"""The storage host's server: minio as an unprivileged user, with TLS from a CA of its own.

Does not protect against root on the workstation, who owns the files: a stand-in for a real object store.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from sandbox.store import write_atomic

STORAGE_UID = 65400  # of a range that Debian gives to nobody
REGION = "us-east-1"
PORT = 9000
CERTIFICATE_DAYS = 3650
# Copies into a private /run, since the runtime folder may lie where only root can look.
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
    """Root credentials and certificates; what is there and whole stays. `names`: further names that the certificate is good for."""
    certs = folder / "certs"
    if not (folder / "root.env").exists():
        lines = {
            "MINIO_ROOT_USER": f"root{secrets.token_hex(6)}",
            "MINIO_ROOT_PASSWORD": secrets.token_urlsafe(30),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_REGION": REGION,
        }
        write_atomic(folder / "root.env", "".join(f"{name}={value}\n" for name, value in lines.items()))
    if not certs.is_dir():
        fresh = folder / ".certs.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        make_certificates(fresh, address, names)
        fresh.rename(certs)


def root_credentials(folder: Path) -> tuple[str, str]:
    """The storage's own root: for buckets, identities and tests; never leaves the workstation."""
    pairs = dict(line.split("=", 1) for line in (folder / "root.env").read_text().splitlines())
    return pairs["MINIO_ROOT_USER"], pairs["MINIO_ROOT_PASSWORD"]


def make_certificates(folder: Path, address: str, others: Sequence[str] = ()) -> None:
    """ca.crt, and a server certificate for `address` and `others` signed by it; the CA's key is never written down."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=CERTIFICATE_DAYS)

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs_certificates,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            encipher_only=False,
            decipher_only=False,
        )

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        base = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("lastcopy sandbox CA"))
        base = base.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return base.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(until)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = (
        builder("lastcopy sandbox CA", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [
        x509.IPAddress(ipaddress.ip_address(address)),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),  # the local door of an engine
        x509.DNSName("storage"),
        *map(x509.DNSName, others),
    ]
    server = (
        builder("storage", key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomic(folder / "ca.crt", ca.public_bytes(pem).decode(), mode=0o644)
    write_atomic(folder / "public.crt", server.public_bytes(pem).decode(), mode=0o644)
    write_atomic(folder / "private.key", private.decode())
