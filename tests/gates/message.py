"""Requests and answers that pass through a gate: a request is parsed and checked completely."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.sax.saxutils import escape

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED, TRAILER = "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
# The algorithms that a gate can verify; it refuses any other.
DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}


@dataclass
class Answer:
    """The answer to the client; ``headers`` by lower-case name."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def error(cls, status: int, code: str, message: str, **more: str) -> Answer:
        """An error in S3's form: a document with a code for programs and a message for people."""
        inside = {"Code": code, "Message": message, **more}
        text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in inside.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'
        return cls(status, {"content-type": "application/xml"}, body.encode())


class Refused(Exception):
    """The gate refuses the request, with this answer."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.answer = Answer.error(status, code, message, **more)


@dataclass
class Request:
    """One request as received. ``headers`` by lower-case name; ``payload``: the body without framing, ``trailers``: what followed it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    payload: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The parameters by name, as sent; a parameter without ``=`` has an empty value."""
        text = self.target.partition("?")[2]
        return {name: value for name, _, value in (word.partition("=") for word in text.split("&") if word)}

    @property
    def bucket(self) -> str:
        return unquote(self.path).strip("/").partition("/")[0]

    @property
    def key(self) -> str:
        return unquote(self.path).lstrip("/").partition("/")[2]

    @property
    def writes(self) -> bool:
        """Whether it contains an object's content: PutObject or UploadPart."""
        made = self.query.keys() <= {"x-id", "partNumber", "uploadId", "versionId"}
        return self.method == "PUT" and bool(self.key) and made and "x-amz-copy-source" not in self.headers

    @property
    def is_part(self) -> bool:
        return "partNumber" in self.query

    @property
    def checksums(self) -> dict[str, str]:
        """Every checksum of the body, in a header or a trailer, by its name."""
        sent = {**self.headers, **self.trailers}
        return {name: value for name, value in sent.items() if _is_checksum(name)}

    def take_apart(self) -> None:
        """``payload`` and ``trailers`` of the body, whatever its framing.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html, 2026-11-28.
        """
        kind = self.headers.get("x-amz-content-sha256", "")
        if not kind.startswith("STREAMING-"):
            self.payload = self.body
            return
        if kind != TRAILER:
            raise Refused(501, "NotImplemented", f"a gate verifies no signatures of chunks: {kind}")
        self.payload, self.trailers = _unframed(self.body)
        announced = {name.strip().lower() for name in self.headers.get("x-amz-trailer", "").split(",")}
        if set(self.trailers) != announced:
            raise Refused(
                400, "MalformedTrailerError", "The trailer is not the one that the header announces."
            )
        if self.headers.get("x-amz-decoded-content-length") != str(len(self.payload)):
            raise Refused(400, "IncompleteBody", "The length of the body is not as announced.")

    def verify(self) -> None:
        """Refuse the request, as S3 does, unless every digest in it matches the payload."""
        signed = self.headers.get("x-amz-content-sha256", "")
        if re.fullmatch("[0-9a-f]{64}", signed) and hashlib.sha256(self.payload).hexdigest() != signed:
            raise Refused(
                400, "XAmzContentSHA256Mismatch", "The SHA-256 that you signed is not that of the body."
            )
        if "content-md5" in self.headers:
            found = hashlib.md5(self.payload, usedforsecurity=False).digest()
            if _encoded(found) != self.headers["content-md5"]:
                raise Refused(
                    400, "BadDigest", "The Content-MD5 you specified did not match what we received."
                )
        for name, value in self.checksums.items():
            if name not in DIGESTS:
                raise Refused(501, "NotImplemented", f"a gate cannot verify {name}")
            if _encoded(DIGESTS[name](self.payload)) != value:
                kind = name.rpartition("-")[2].upper()
                raise Refused(400, "BadDigest", f"The {kind} you specified did not match what we received.")


def _is_checksum(name: str) -> bool:
    return name.startswith("x-amz-checksum-") and name not in (
        "x-amz-checksum-algorithm",
        "x-amz-checksum-mode",
        "x-amz-checksum-type",
    )


def _encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _unframed(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Chunks of ``SIZE CRLF DATA CRLF``, one of size 0, then lines ``name:value``."""
    data, at = bytearray(), 0
    try:
        while True:
            end = body.index(b"\r\n", at)
            size = int(body[at:end], 16)
            at = end + 2
            if size == 0:
                break
            data += body[at : at + size]
            at += size
            if body[at : at + 2] != b"\r\n":
                raise ValueError("a chunk is longer than it says")
            at += 2
        lines = [line for line in body[at:].decode().split("\r\n") if line]
        pairs = [line.split(":", 1) for line in lines]
        return bytes(data), {name.strip().lower(): value.strip() for name, value in pairs}
    except ValueError as error:
        raise Refused(400, "IncompleteBody", f"The chunks are malformed: {error}") from None
