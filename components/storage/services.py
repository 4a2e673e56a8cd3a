"""The S3 services that this program knows: what each of them does with a backup, and the source of that information.

Pure data. The stack file names a service in ``storage.s3.provider``; whatever differs between services is looked up only here.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.storage.service_facts import Checksum, Fact, ServiceName, StorageService, Tried

_CEPH_HERE = "Debian's radosgw 16.2.15, run by the tests"
_RCLONE = "https://github.com/rclone/rclone/tree/v1.76.0/backend/s3/provider"
_UNKNOWN: Fact[bool] = Fact(value=None, source="", date="2026-11-28")

_AWS = StorageService(
    name="AWS",
    title="Amazon S3",
    rclone="AWS",
    checksum=Fact(
        value=Checksum.TRAILER,
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html",
        date="2026-11-28",
        tried=Tried.GATE,
    ),
    conditional_write=Fact(
        value=True,
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html",
        date="2026-11-28",
        tried=Tried.GATE,
    ),
    object_lock=Fact(
        value=True,
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html",
        date="2026-11-28",
    ),
    versions_listed=Fact(
        value=True,
        source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html",
        date="2026-11-28",
    ),
    identity_per_source=Fact(
        value=True,
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_examples_s3_rw-bucket.html",
        date="2026-11-28",
    ),
    missing_key_is_404=Fact(
        value=True,
        source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html",
        date="2026-11-28",
    ),
    etag_is_md5=Fact(
        value=True,
        source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html",
        date="2026-11-28",
        note="not under SSE-KMS",
        tried=Tried.GATE,
    ),
    retention_is_a_right=Fact(
        value=True,
        source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectRetention.html",
        date="2026-11-28",
    ),
)

_MINIO = StorageService(
    name="Minio",
    title="MinIO",
    rclone="Minio",
    checksum=Fact(
        value=Checksum.TRAILER,
        source="minio 2026-02-12, run by the tests",
        date="2026-11-28",
        tried=Tried.REAL,
        note="takes no chunk above 16 MiB, and the SDK sends a body as one chunk: larger objects go in parts",
    ),
    conditional_write=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    object_lock=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    versions_listed=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    identity_per_source=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    missing_key_is_404=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    etag_is_md5=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    retention_is_a_right=Fact(
        value=True, source="minio 2026-02-12, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    largest_body=16,
)

_VERSITY = StorageService(
    name="Versity",
    title="Versity S3 Gateway",
    rclone="Other",
    checksum=Fact(
        value=Checksum.TRAILER,
        source="versitygw 1.8.0, run by the tests",
        date="2026-11-28",
        tried=Tried.REAL,
    ),
    conditional_write=Fact(
        value=True, source="versitygw 1.8.0, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    object_lock=Fact(
        value=False,
        source="versitygw 1.8.0, run by the tests",
        date="2026-11-28",
        tried=Tried.REAL,
        note="a default retention counts from its configuration, not from each object's upload",
    ),
    versions_listed=Fact(
        value=False,
        source="versitygw 1.8.0, run by the tests",
        date="2026-11-28",
        tried=Tried.REAL,
        note="archived versions carry the wrong time, so a view of the past is wrong",
    ),
    identity_per_source=Fact(
        value=True, source="versitygw 1.8.0, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=Fact(
        value=True, source="versitygw 1.8.0, run by the tests", date="2026-11-28", tried=Tried.REAL
    ),
)

_CEPH = StorageService(
    name="Ceph",
    title="Ceph RADOS Gateway",
    rclone="Ceph",
    checksum=Fact(
        value=Checksum.MD5,
        source=_CEPH_HERE,
        date="2026-11-27",
        tried=Tried.REAL,
        note="the trailer is refused: 400 XAmzContentSHA256Mismatch",
    ),
    conditional_write=Fact(
        value=False,
        source=_CEPH_HERE,
        date="2026-11-27",
        tried=Tried.REAL,
        note="ignored in a bucket that keeps versions: the second write becomes the current one",
    ),
    object_lock=Fact(value=True, source=_CEPH_HERE, date="2026-11-27", tried=Tried.REAL),
    versions_listed=Fact(value=True, source=_CEPH_HERE, date="2026-11-27", tried=Tried.REAL),
    identity_per_source=Fact(
        value=True,
        source=_CEPH_HERE,
        date="2026-11-28",
        tried=Tried.REAL,
        note="by the bucket's policy in docs/configuration.md",
    ),
    missing_key_is_404=Fact(
        value=False,
        source="https://github.com/ceph/ceph/pull/68577",
        date="2026-11-27",
        tried=Tried.REAL,
        note="403 where listing is allowed below a prefix only",
    ),
    etag_is_md5=Fact(value=True, source=_CEPH_HERE, date="2026-11-27", tried=Tried.REAL),
    retention_is_a_right=Fact(value=False, source=_CEPH_HERE, date="2026-11-28", tried=Tried.REAL),
)

_HETZNER = StorageService(
    name="Hetzner",
    title="Hetzner Object Storage",
    rclone="Hetzner",
    checksum=Fact(
        value=Checksum.MD5,
        source="https://github.com/home-assistant/core/issues/144015",
        date="2025-05-01",
        note="the trailer is refused: XAmzContentSHA256Mismatch, as by Ceph",
        tried=Tried.GATE,
    ),
    conditional_write=Fact(
        value=None,
        source="https://github.com/TheOrcDev/videorc/blob/main/docs/releases/storage-compat-2026-09.md",
        date="2026-09-21",
        tried=Tried.GATE,
        note="held in a bucket without versions; Ceph, which it runs, ignores it in one with versions",
    ),
    object_lock=Fact(
        value=True,
        source="https://docs.hetzner.com/storage/object-storage/supported-actions",
        date="2026-11-28",
    ),
    versions_listed=Fact(
        value=True,
        source="https://docs.hetzner.com/storage/object-storage/supported-actions",
        date="2026-11-28",
    ),
    identity_per_source=Fact(
        value=None,
        source="https://docs.hetzner.com/storage/object-storage/faq/buckets-objects",
        date="2026-11-28",
        note="each key opens every bucket of its project, unless the bucket's policy says otherwise",
    ),
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=_UNKNOWN,
)

_WASABI = StorageService(
    name="Wasabi",
    title="Wasabi Hot Cloud Storage",
    rclone="Wasabi",
    checksum=Fact(
        value=Checksum.MD5,
        source="https://github.com/minio/minio-go/issues/774",
        date="2017-07-31",
        note="chunked bodies were stored with their framing; no newer word was found",
        tried=Tried.GATE,
    ),
    conditional_write=_UNKNOWN,
    object_lock=Fact(
        value=True,
        source="https://docs.wasabi.com/apidocs/object-lock-on-buckets-with-the-wasabi-s3-api",
        date="2026-11-28",
    ),
    versions_listed=_UNKNOWN,
    identity_per_source=Fact(
        value=True,
        source="https://knowledgebase.wasabi.com/hc/en-us/articles/360059860072-How-to-Separate-Access-at-the-Folder-Level",
        date="2026-11-28",
    ),
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=_UNKNOWN,
)

_BACKBLAZE = StorageService(
    name="Backblaze",
    title="Backblaze B2",
    rclone="Other",
    checksum=Fact(
        value=Checksum.MD5,
        source="https://www.backblaze.com/docs/cloud-storage-s3-compatible-api",
        date="2026-11-28",
        note="x-amz-checksum-* is refused: 400 InvalidArgument, Unsupported header",
        tried=Tried.GATE,
    ),
    conditional_write=Fact(
        value=False,
        source="https://github.com/sathinduga/obsidian-s3-sync-and-backup/issues/78",
        date="2026-07-17",
        tried=Tried.GATE,
        note="refused: 501 NotImplemented, whether or not the object is there, so no condition is sent",
    ),
    object_lock=Fact(
        value=True,
        source="https://www.backblaze.com/docs/cloud-storage-object-lock",
        date="2026-11-28",
    ),
    versions_listed=Fact(
        value=True, source="https://www.backblaze.com/b2/docs/s3_compatible_api.html", date="2026-11-28"
    ),
    identity_per_source=Fact(
        value=True,
        source="https://github.com/Backblaze/B2_Command_Line_Tool/issues/556",
        date="2019-02-26",
        note="an application key with a name prefix; the right to write is also the right to hide, so R1 rests on the lock",
    ),
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=_UNKNOWN,
    takes_conditions=False,
)

_GOOGLE = StorageService(
    name="Google",
    title="Google Cloud Storage, S3 interface",
    rclone="GCS",
    checksum=Fact(
        value=Checksum.MD5,
        source="https://github.com/fleetdm/fleet/issues/47850",
        date="2026-06-18",
        note="the trailer is refused",
        tried=Tried.GATE,
    ),
    conditional_write=_UNKNOWN,
    object_lock=Fact(
        value=False,
        source=f"{_RCLONE}/GCS.yaml",
        date="2026-11-28",
        tried=Tried.GATE,
        note="a retention of its own for each object, and none by default",
    ),
    versions_listed=_UNKNOWN,
    identity_per_source=_UNKNOWN,
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=_UNKNOWN,
    cannot_work="its S3 interface gives objects no lock by default",
)

_CLOUDFLARE = StorageService(
    name="Cloudflare",
    title="Cloudflare R2",
    rclone="Cloudflare",
    checksum=Fact(
        value=Checksum.MD5, source="https://developers.cloudflare.com/r2/api/s3/api/", date="2026-11-28"
    ),
    conditional_write=_UNKNOWN,
    object_lock=Fact(
        value=False, source="https://developers.cloudflare.com/r2/api/s3/api/", date="2026-11-28"
    ),
    versions_listed=Fact(
        value=False, source="https://developers.cloudflare.com/r2/api/s3/api/", date="2026-11-28"
    ),
    identity_per_source=_UNKNOWN,
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=_UNKNOWN,
    cannot_work="R2 keeps no versions and has no S3 Object Lock",
)

_OTHER = StorageService(
    name="Other",
    title="any other S3 service",
    rclone="Other",
    checksum=Fact(
        value=Checksum.MD5,
        source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html",
        date="2026-11-28",
        note="Content-MD5 is as old as S3; trailers are known to newer servers only",
    ),
    conditional_write=_UNKNOWN,
    object_lock=_UNKNOWN,
    versions_listed=_UNKNOWN,
    identity_per_source=_UNKNOWN,
    missing_key_is_404=_UNKNOWN,
    etag_is_md5=_UNKNOWN,
    retention_is_a_right=_UNKNOWN,
)

SERVICES: Mapping[ServiceName, StorageService] = {
    service.name: service
    for service in (
        _AWS,
        _MINIO,
        _VERSITY,
        _CEPH,
        _HETZNER,
        _WASABI,
        _BACKBLAZE,
        _GOOGLE,
        _CLOUDFLARE,
        _OTHER,
    )
}
USABLE: tuple[ServiceName, ...] = tuple(name for name, service in SERVICES.items() if not service.cannot_work)
