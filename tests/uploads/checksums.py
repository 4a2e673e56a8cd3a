"""What a strict storage requires of an upload, checked on recorded requests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from urllib.parse import quote

from tests.uploads.recorder import RecordedRequest

CRC = "x-amz-checksum-crc32"
BODIES = ("PutObject", "UploadPart")


def content(request: RecordedRequest) -> bytes:
    """The object's own bytes: the body without the framing of a trailer."""
    if "aws-chunked" not in request.headers.get("content-encoding", ""):
        return request.body
    found, rest = b"", request.body
    while True:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head, 16)
        if not size:
            return found
        found, rest = found + rest[:size], rest[size + 2 :]


def _trailer(request: RecordedRequest) -> str:
    lines = request.body.rpartition(b"0\r\n")[2].decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if line).get(CRC, "")


def carried(request: RecordedRequest) -> set[str]:
    """The correct checksums that came with the body, by name; a wrong checksum raises an error."""
    body, found = content(request), set()
    crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    given = {
        "Content-MD5": (request.headers.get("content-md5"), md5),
        "crc32 header": (request.headers.get(CRC), crc),
        "crc32 trailer": (_trailer(request) if request.headers.get("x-amz-trailer") == CRC else None, crc),
    }
    for name, (sent, right) in given.items():
        if sent is not None:
            assert sent == right, f"{request.step} of {request.key}: {name} is {sent}, not {right}"
            found.add(name)
    return found


def newer_checksums(request: RecordedRequest) -> set[str]:
    """Headers that older services refuse outright (Backblaze B2: 400 "Unsupported header", Ceph: 400 XAmzContentSHA256Mismatch)."""
    named = {name for name in request.headers if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum"))}
    framed = {name for name in ("x-amz-trailer", "x-amz-decoded-content-length") if name in request.headers}
    return named | framed


def is_signed_with(request: RecordedRequest, secret: str) -> bool:
    """Whether the signature (AWS Signature Version 4) was made with this secret access key."""
    scope = request.headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ")
    parts = dict(part.split("=", 1) for part in scope.split(", "))
    _, day, region, service, end = parts["Credential"].rsplit("/", 4)
    names = parts["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            request.method,
            request.path,
            "&".join(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in sorted(request.query.items())),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
            "",
            ";".join(names),
            request.headers["x-amz-content-sha256"],
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{day}/{region}/{service}/{end}\n{digest}"
    key = f"AWS4{secret}".encode()
    for word in (day, region, service, end, text):
        key = hmac.new(key, word.encode(), "sha256").digest()
    return key.hex() == parts["Signature"]
