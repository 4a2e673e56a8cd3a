"""The differences between services, one rule each, with its source, the date, and how strict the rule is if the source does not say.

A rule may refuse a request when it arrives or once its body is known, change what is sent on, and change the answer.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from tests.enforced.servers import REGION
from tests.gates.message import TRAILER, Answer, Refused, Request
from tests.gates.signature import Signed

ETAG = re.compile(r'("|&quot;|&#34;)?([0-9a-f]{32}(?:-\d+)?)("|&quot;|&#34;)?')


@dataclass
class Exchange:
    """One request and its answer. ``ask`` sends a request to the server behind with the same identity."""

    request: Request
    signed: Signed
    ask: Callable[[Request], Answer]
    answer: Answer = field(default_factory=lambda: Answer(500))


class Rule:
    """One property of a service. ``source``: where it is documented; ``date``: when it was read, or the date of the report."""

    source: ClassVar[str]
    date: ClassVar[str]

    def arrives(self, exchange: Exchange) -> None:
        """The headers have arrived; nothing is verified yet."""

    def refuses(self, exchange: Exchange) -> None:
        """The body has arrived; its digests are not verified yet."""

    def sends_on(self, exchange: Exchange) -> None:
        """Everything is verified; the request may be changed before the server behind gets it."""

    def answers(self, exchange: Exchange) -> None:
        """The server behind has answered; the answer may be changed."""

    def leaves(self, exchange: Exchange) -> None:
        """The exchange is over, whatever its outcome."""


class ChecksumDemanded(Rule):
    """An object or part that will be locked must come with a digest. Stricter: demanded in every bucket, not only in one with a retention."""

    source = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html#API_PutObject_RequestSyntax (Content-MD5); its text: https://github.com/versity/versitygw/issues/1740"
    date = "2026-01-08"

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.writes and not ("content-md5" in request.headers or request.checksums):
            kind = "Put Part" if request.is_part else "Put Object"
            words = f"Content-MD5 OR x-amz-checksum- HTTP header is required for {kind} requests with Object Lock parameters"
            raise Refused(400, "InvalidRequest", words)


class TrailerRefused(Rule):
    """A body that is followed by its checksum is not understood: its framing is treated as content."""

    source = (
        "Ceph RGW 16.2.15 itself (test_ceph.py); Hetzner: https://github.com/opentofu/opentofu/issues/2605"
    )
    date = "2025-03-18"

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.headers.get("x-amz-content-sha256") == TRAILER:
            words = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise Refused(400, "XAmzContentSHA256Mismatch", words)


class ChecksumHeadersRefused(Rule):
    """Every header of the newer checksums is refused. One region accepted them in July 2026; the vendor's list still calls them unsupported."""

    source = "https://www.backblaze.com/docs/cloud-storage-s3-compatible-api (unsupported headers); its text: https://github.com/home-assistant/core/issues/143995"
    date = "2025-04-30"

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        for name in sorted(request.headers):
            if name.startswith("x-amz-checksum-") or name in (
                "x-amz-sdk-checksum-algorithm",
                "x-amz-trailer",
            ):
                raise Refused(
                    400, "InvalidArgument", f"Unsupported header '{name}' received for this API call."
                )


class ConditionRefused(Rule):
    """A write with a condition is refused, whether or not the object exists."""

    source = "https://github.com/sathinduga/obsidian-s3-sync-and-backup/issues/78"
    date = "2026-07-17"

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method in ("PUT", "POST") and {"if-none-match", "if-match"} & request.headers.keys():
            words = "A header you provided implies functionality that is not implemented."
            raise Refused(501, "NotImplemented", words)


class ConditionIgnored(Rule):
    """The condition of a write is ignored. Ceph does so in a bucket that keeps versions, which all buckets of lastcopy do."""

    source = "Ceph RGW 16.2.15 itself (test_ceph.py); of other services no source says that they hold it in a bucket with versions"
    date = "2026-11-28"

    def sends_on(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method in ("PUT", "POST"):
            request.headers.pop("if-none-match", None)


@dataclass
class ConflictBetweenWriters(Rule):
    """If two conditional writes of one name happen at the same time, the later one must be retried. ``first``: so must the first write of these names."""

    source: ClassVar[str] = (
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (409 Conflict)"
    )
    date: ClassVar[str] = "2026-11-28"
    first: Callable[[str], bool] = lambda _: False
    told: set[str] = field(default_factory=set)
    _writing: dict[str, Request] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        if not (request.writes and "if-none-match" in request.headers):
            return
        with self._lock:
            once = self.first(request.key) and request.key not in self.told
            if once or request.key in self._writing:
                self.told.add(request.key)
                words = "The conditional request cannot succeed due to a conflicting operation against this resource."
                raise Refused(409, "ConditionalRequestConflict", words)
            self._writing[request.key] = request

    def leaves(self, exchange: Exchange) -> None:
        request = exchange.request
        with self._lock:
            if self._writing.get(request.key) is request:
                del self._writing[request.key]


@dataclass
class EtagIsNoDigest(Rule):
    """Objects are encrypted with a KMS key, so that an ETag is not a digest of the content."""

    source: ClassVar[str] = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html (ETag)"
    date: ClassVar[str] = "2026-11-28"
    _behind: dict[str, str] = field(default_factory=dict)

    def sends_on(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "POST" and "uploadId" in request.query:
            # The ETags of the parts, as the server behind knows them.
            text = ETAG.sub(self._known, request.payload.decode())
            request.payload = text.encode()

    def _known(self, found: re.Match[str]) -> str:
        return f'"{self._behind.get(found[2], found[2])}"'

    def _shown(self, found: re.Match[str]) -> str:
        made = hashlib.md5(b"kms " + found[2].encode(), usedforsecurity=False).hexdigest()
        self._behind[made] = found[2]
        return f"{found[1] or ''}{made}{found[3] or ''}"

    def answers(self, exchange: Exchange) -> None:
        answer = exchange.answer
        headers = dict(answer.headers)
        if "etag" in headers:
            headers["etag"] = ETAG.sub(self._shown, headers["etag"])
            headers["x-amz-server-side-encryption"] = "aws:kms"
        body = answer.body
        if b"<ETag>" in body:
            text = re.sub(r"(?<=<ETag>)[^<]*", lambda one: ETAG.sub(self._shown, one[0]), body.decode())
            body = text.encode()
            headers["content-length"] = str(len(body))
        exchange.answer = Answer(answer.status, headers, body)


@dataclass
class KmsKeyClosed(Rule):
    """The identity lacks these rights on the KMS key of the bucket: a write needs kms:GenerateDataKey, a read kms:Decrypt, parts need both."""

    source: ClassVar[str] = (
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html (permissions); its text: https://github.com/buildkite/docs/pull/2344"
    )
    date: ClassVar[str] = "2023-08-01"
    lacks: frozenset[str] = frozenset()

    def _denial(self, right: str) -> tuple[int, str, str]:
        words = f"User: arn:aws:iam::123456789012:user/web1 is not authorized to perform: {right} on this resource because no policy allows the {right} action"
        return 403, "AccessDenied", words

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        needed = ["kms:GenerateDataKey"] if request.writes or "uploads" in request.query else []
        needed += ["kms:Decrypt"] if request.is_part or "uploads" in request.query else []
        for right in needed:
            if right in self.lacks:
                raise Refused(*self._denial(right))

    def answers(self, exchange: Exchange) -> None:
        request = exchange.request
        read = request.method == "GET" and request.key and exchange.answer.status == 200
        if read and "retention" not in request.query and "kms:Decrypt" in self.lacks:
            exchange.answer = Answer.error(*self._denial("kms:Decrypt"))


class MissingKeyIs403(Rule):
    """An identity that may not list the whole bucket gets 403 for a missing key; a condition on s3:prefix does not count. AWS answers 404."""

    source = "Ceph RGW 16.2.15 itself (test_ceph.py); changed in https://github.com/ceph/ceph/pull/68577"
    date = "2026-04-24"

    def answers(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method not in ("GET", "HEAD") or not request.key or exchange.answer.status != 404:
            return
        whole = Request(
            "GET", f"/{request.bucket}?list-type=2&max-keys=1", {"host": request.headers["host"]}, b""
        )
        if exchange.ask(whole).status != 200:
            exchange.answer = Answer.error(403, "AccessDenied", "")


class NoVersionsNoLocks(Rule):
    """Versioning and Object Lock are unknown."""

    source = "https://developers.cloudflare.com/r2/api/s3/api/ (unimplemented: GetBucketVersioning, GetObjectLockConfiguration)"
    date = "2026-11-28"

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        for word in ("versioning", "object-lock", "versions", "retention", "legal-hold"):
            if word in request.query:
                raise Refused(501, "NotImplemented", f"{word} not implemented")


class NoDefaultRetention(Rule):
    """The lock configuration has no default: an object is locked only if its write asks for it."""

    source = "https://cloud.google.com/storage/docs/using-object-lock (a retention for each object; none by default)"
    date = "2026-11-28"

    def answers(self, exchange: Exchange) -> None:
        if "object-lock" in exchange.request.query and exchange.answer.status == 200:
            body = re.sub(rb"<Rule>.*</Rule>", b"", exchange.answer.body, flags=re.DOTALL)
            exchange.answer = Answer(200, {"content-type": "application/xml"}, body)


class AcceptEncodingChanged(Rule):
    """The front end changes Accept-Encoding before the signature is verified, so that header must not be signed."""

    source = (
        "https://github.com/siderolabs/talos-backup/issues/64; https://github.com/rclone/rclone/issues/6670"
    )
    date = "2026-05-20"

    def arrives(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        if "accept-encoding" in headers:
            headers["accept-encoding"] += ",gzip(gfe)"


class UnknownQueryRefused(Rule):
    """The parameter x-id, which the SDK adds to each request, is unknown."""

    source = "https://github.com/rclone/rclone/blob/v1.76.0/backend/s3/provider/GCS.yaml (use_x_id: false)"
    date = "2026-11-28"

    def refuses(self, exchange: Exchange) -> None:
        request = exchange.request
        if "x-id" in request.query:
            raise Refused(400, "InvalidArgument", "Invalid argument: x-id")


@dataclass
class HeadAnswered(Rule):
    """HEAD of these keys gets these answers, whether they exist or not. rclone uses HEAD to ask whether a path is a file, and whether a name is taken."""

    source: ClassVar[str] = (
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html (200, 403, 404, 405); 500: ErrorResponses.html"
    )
    date: ClassVar[str] = "2026-11-28"
    status: dict[str, int]

    def answers(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method != "HEAD" or request.key not in self.status:
            return
        status = self.status[request.key]
        exchange.answer = Answer.error(status, "HeadAnswered", "")
        if status == 200:
            etag = '"d41d8cd98f00b204e9800998ecf8427e"'
            dated = {"last-modified": "Fri, 27 Nov 2026 00:00:00 GMT", "etag": etag}
            exchange.answer = Answer(200, {"content-length": "0", **dated})


@dataclass
class BucketElsewhere(Rule):
    """The bucket is in another region than the endpoint: 301 without a Location. For a new bucket: 307, whose Location leads nowhere in this rule."""

    source: ClassVar[str] = (
        "https://docs.aws.amazon.com/AmazonS3/latest/API/UsingRouting.html; as sent: https://github.com/JuliaCloud/AWSS3.jl/issues/25 (301), "
        "https://github.com/cperciva/bsdec2-image-upload/issues/11 (307)"
    )
    date: ClassVar[str] = "2026-11-28"
    home: str = REGION
    new_for: int = 0
    """So many requests come before the service's names lead to the bucket; they are answered 307, whatever the region."""

    def refuses(self, exchange: Exchange) -> None:
        # The signature has the endpoint's region, otherwise the gate has refused it.
        request = exchange.request
        if self.new_for <= 0 and exchange.signed.region == self.home:
            return
        host = f"{request.bucket}.s3.{self.home}.amazonaws.com"
        if self.new_for > 0:
            self.new_for -= 1
            words = "Please re-send this request to the specified temporary endpoint. Continue to use the original request endpoint for future requests."
            refused = Refused(307, "TemporaryRedirect", words, Endpoint=host)
            # A host name that cannot exist, so that a client that follows the redirect fails.
            refused.answer.headers["location"] = f"https://{request.bucket}.s3.invalid/{request.key}"
        else:
            words = "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."
            refused = Refused(301, "PermanentRedirect", words, Endpoint=host)
        refused.answer.headers["x-amz-bucket-region"] = self.home
        raise refused


def all_rules() -> Iterable[type[Rule]]:
    return Rule.__subclasses__()
