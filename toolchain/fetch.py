"""Downloads official releases: an interrupted download is resumed, and everything is verified before it is unpacked."""

from __future__ import annotations

import bz2
import fnmatch
import hashlib
import http.client
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from . import signature
from .errors import Closed, ToolError, refused
from .pins import Release

PROBE_SECONDS = 3.0
READ_SECONDS = 30.0
TRIES = 4
PAUSE_SECONDS = 1.0
CHUNK = 1 << 18
SMALL = 1 << 20  # no checksum file or key is larger
ALGORITHMS = {40: "sha1", 64: "sha256", 128: "sha512"}
BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)

_verdicts: dict[str, str] = {}


class _StayEncrypted(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"redirected from https to {newurl}")
        # http.client.HTTPMessage is a Message; the stub wants the subclass
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


_opener = urllib.request.build_opener(_StayEncrypted)


def _open(url: str, seconds: float, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
    if not url.startswith("https://") and urlsplit(url).hostname not in ("127.0.0.1", "::1"):
        raise ToolError(f"{url}: the URL must be https; correct toolchain/versions.toml")
    agent = {"User-Agent": "lastcopy-toolchain", **(headers or {})}
    return _opener.open(urllib.request.Request(url, headers=agent, method=method), timeout=seconds)  # noqa: S310


def reach(url: str, all_urls: Iterable[str]) -> None:
    """Raise `Closed` if the server of `url` cannot be reached. It takes at most 3 s and is done once per process and server."""
    asked = {_origin(one) for one in (url, *all_urls)} - _verdicts.keys()
    threads = [threading.Thread(target=_probe, args=(origin,), daemon=True) for origin in asked]
    deadline = time.monotonic() + PROBE_SECONDS + 0.5
    for thread in threads:
        thread.start()
    for thread in threads:  # name lookup has no time limit of its own, so the wait has one
        thread.join(max(0.0, deadline - time.monotonic()))
    for origin in asked:
        _verdicts.setdefault(origin, f"no answer in {PROBE_SECONDS:.0f} s")
    if reason := _verdicts[_origin(url)]:
        raise Closed(f"{_origin(url)} not reached: {reason}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def _probe(origin: str) -> None:
    try:
        _open(origin, PROBE_SECONDS, method="HEAD").close()
        verdict = ""
    except urllib.error.HTTPError:
        verdict = ""  # it answered
    except BROKEN as error:
        verdict = str(getattr(error, "reason", error))
    _verdicts[origin] = verdict


def small(url: str) -> bytes:
    """Return a checksum file, signature or key."""
    try:
        with _open(url, READ_SECONDS) as answer:
            data: bytes = answer.read(SMALL + 1)
    except BROKEN as error:
        raise Closed(f"{url}: {error}") from error
    if len(data) > SMALL:
        raise Closed(f"{url}: larger than {SMALL} bytes")
    return data


def download(url: str, target: Path, update: Callable[[str], None]) -> None:
    """Download to `target`, resuming an interrupted download."""
    part = target.with_name(target.name + ".part")
    last: object = "the connection ended early"
    for attempt in range(TRIES):
        time.sleep(attempt * PAUSE_SECONDS)
        try:
            whole = _continue(url, part, update)
        except urllib.error.HTTPError as error:
            raise Closed(f"{url}: HTTP {error.code} {error.reason}") from error
        except BROKEN as error:
            last = error
            continue
        if whole is not None and part.stat().st_size == whole:
            part.rename(target)
            return
    raise Closed(f"{url}: {last}; what was downloaded is kept, run it again to resume")


def _continue(url: str, part: Path, update: Callable[[str], None]) -> int | None:
    have = part.stat().st_size if part.exists() else 0
    try:
        answer = _open(url, READ_SECONDS, {"Range": f"bytes={have}-"} if have else {})
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range", "") == f"bytes */{have}":
            return have  # killed after the last byte, before the rename
        if error.code == 416:
            part.unlink()
            return None
        raise
    with answer:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else None
        told = 0.0
        with part.open("ab" if have else "wb") as out:
            while chunk := answer.read(CHUNK):
                out.write(chunk)
                have += len(chunk)
                if time.monotonic() - told > 1:
                    told = time.monotonic()
                    update(f"{have >> 20} of {(whole or 0) >> 20} MiB")
    return whole if length else have


def verify(tool: str, release: Release, archive: Path, name: str, scratch: Path) -> None:
    """Raise ToolError unless `archive` matches the release's checksums, and their signature is good."""
    expected = release.sha256 or _listed(tool, release, name, scratch)
    with archive.open("rb") as handle:
        got = hashlib.file_digest(handle, ALGORITHMS[len(expected)]).hexdigest()
    if got != expected:
        archive.unlink()
        got = f"its {ALGORITHMS[len(expected)]} is {got}, expected {expected}"
        raise refused(tool, release.version, f"{name} is not what was published: {got}")


def _listed(tool: str, release: Release, name: str, scratch: Path) -> str:
    sums = small(release.sums)
    if release.fingerprint:
        sums = signature.signed_text(tool, release, sums, scratch, small)
    lengths = {64} if release.fingerprint else set(ALGORITHMS)
    found = set()
    for line in sums.decode("utf-8", "replace").splitlines():
        digest, _, listed = line.partition(" ")
        if listed.strip().removeprefix("*").removeprefix("./") == name and len(digest) in lengths:
            found.add(digest.lower())
    if len(found) != 1:
        raise refused(tool, release.version, f"{release.sums} does not name {name} exactly once")
    return found.pop()


def unpack(archive: Path, members: tuple[str, ...], target: Path) -> None:
    """Unpack only the wanted programs, by their base name. Paths in an archive are never followed."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            for entry in tar:
                if entry.isfile() and (base := _wanted(entry.name, members)):
                    _write(tar.extractfile(entry), target / base)
    elif archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir() and (base := _wanted(info.filename, members)):
                    with bundle.open(info) as source:
                        _write(source, target / base)
    else:
        with bz2.open(archive) if archive.suffix == ".bz2" else archive.open("rb") as source:
            _write(source, target / members[0])


def _wanted(path: str, members: tuple[str, ...]) -> str:
    base = PurePosixPath(path).name
    return base if any(fnmatch.fnmatchcase(base, pattern) for pattern in members) else ""


def _write(source: Any, target: Path) -> None:
    with target.open("wb") as out:
        shutil.copyfileobj(source, out, CHUNK)
