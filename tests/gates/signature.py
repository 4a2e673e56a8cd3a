"""Signature Version 4: verifies the signature of a request, and signs it again for the server behind the gate.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, 2026-11-28.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from tests.gates.message import UNSIGNED, Refused, Request

SKEW = datetime.timedelta(minutes=15)
_FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/s3/aws4_request,"
    r" ?SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_TIME = "%Y%m%dT%H%M%SZ"


class Signed:
    """The signature of a request, and its parameters."""

    def __init__(self, request: Request) -> None:
        found = _FORM.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            raise Refused(403, "AccessDenied", "Access Denied.")
        self.request, self.key, self.day, self.region = request, found["key"], found["day"], found["region"]
        self.headers, self.signature = found["signed"].split(";"), found["signature"]

    def age(self, now: datetime.datetime) -> datetime.timedelta:
        sent = datetime.datetime.strptime(self.request.headers["x-amz-date"], _TIME)
        return abs(now - sent.replace(tzinfo=datetime.UTC))

    def verify(self, secrets: Mapping[str, str]) -> None:
        """Check that this key's secret made the signature, over the host and every header of Amazon's."""
        if self.key not in secrets:
            raise Refused(403, "InvalidAccessKeyId", "The access key id you provided does not exist.")
        amazons = {name for name in self.request.headers if name.startswith("x-amz-")}
        unsigned = sorted((amazons | {"host"}) - set(self.headers))
        if unsigned:
            raise Refused(403, "AccessDenied", f"There were headers that were not signed: {unsigned}")
        made = _signature(self.request, self.headers, secrets[self.key], f"{self.day}/{self.region}")
        if not hmac.compare_digest(made, self.signature):
            raise Refused(403, "SignatureDoesNotMatch", "The signature we calculated does not match.")


def sign(request: Request, key: str, secret: str, region: str) -> None:
    """Sign the request with all of its headers; what it says about its body is kept."""
    now = datetime.datetime.now(datetime.UTC).strftime(_TIME)
    request.headers.setdefault("x-amz-content-sha256", UNSIGNED)
    request.headers["x-amz-date"] = now
    request.headers.pop("authorization", None)
    names, scope = sorted(request.headers), f"{now[:8]}/{region}"
    signature = _signature(request, names, secret, scope)
    request.headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}/s3/aws4_request,"
        f"SignedHeaders={';'.join(names)},Signature={signature}"
    )


def _signature(request: Request, names: Sequence[str], secret: str, scope: str) -> str:
    """``scope``: ``day/region``."""
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names)
    query = "&".join(sorted(f"{name}={value}" for name, value in request.query.items()))
    payload = request.headers["x-amz-content-sha256"]
    canonical = f"{request.method}\n{request.path}\n{query}\n{headers}\n{';'.join(names)}\n{payload}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}/s3/aws4_request\n{digest}"
    key = f"AWS4{secret}".encode()
    for word in (*scope.split("/"), "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
