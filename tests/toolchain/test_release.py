"""The official release is installed only if it is proven, and never partially."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request

import pytest

from toolchain import ToolError, fetch

PROGRAM = b"#!/bin/sh\necho alpha v1.2.3\nexit\n"
KINDS = [("zip", "inline"), ("bz2", "detached"), ("tar.gz", "sums"), ("raw", "pinned")]


@pytest.mark.parametrize(("kind", "proof"), KINDS)
def test_a_genuine_release_is_installed_and_leaves_nothing_else(bench, kind, proof):
    b = bench(kind=kind, proof=proof)
    b.publish()
    tool = b.toolchain().ensure()["alpha"]
    assert (tool.origin, tool.version) == ("official release", "1.2.3")
    assert subprocess.check_output([tool.path]) == b"alpha v1.2.3\n"
    assert [path.name for path in b.installed()] == ["alpha", "origin"]
    assert not any((b.cache / "downloads").iterdir())
    assert not (b.cache / "tmp").exists()


def test_a_second_run_contacts_no_server(bench):
    b = bench()
    b.publish()
    b.toolchain().ensure()
    b.site.asked.clear()
    assert b.toolchain().ensure()["alpha"].origin == "official release"
    assert b.site.asked == []


@pytest.mark.parametrize(("kind", "proof"), KINDS)
def test_a_tampered_archive_stops_everything(bench, kind, proof):
    b = bench(kind=kind, proof=proof)
    b.with_go()  # the next way is open and must not be used
    b.publish()
    b.site.files[b.archive] = b.site.files[b.archive] + b" "
    with pytest.raises(ToolError, match=r"is not what was published[\s\S]*ensure alpha"):
        b.toolchain().ensure()
    assert (b.installed(), b.builds()) == ([], 0)
    b.publish()  # the bad download was removed, so the genuine one is accepted
    assert b.toolchain().ensure()["alpha"].origin == "official release"


def tampered_sums(b):
    honest = b.site.files["SUMS"]
    b.publish(b"#!/bin/sh\necho alpha v1.2.3 evil\n", signer="other")
    b.site.files["SUMS"] = honest.replace(b"0000", b"1111")


def other_signer(b):
    b.publish(b"#!/bin/sh\necho alpha v1.2.3 evil\n", signer="other")


def unsigned(b):
    b.site.files["SUMS"] = b"0" * 64 + b"  " + b.archive.encode() + b"\n"
    b.site.files["SUMS.asc"] = b""


def key_file_of_the_other(b):
    other_signer(b)
    b.site.files["KEYS"] = b.keys.public("other")


@pytest.mark.parametrize("attack", [tampered_sums, other_signer, unsigned, key_file_of_the_other])
@pytest.mark.parametrize(("kind", "proof"), [("zip", "inline"), ("bz2", "detached")])
def test_only_a_signature_by_the_pinned_key_counts(bench, kind, proof, attack):
    b = bench(kind=kind, proof=proof)
    b.with_go()
    b.publish()
    attack(b)
    with pytest.raises(ToolError, match="someone may have changed the release"):
        b.toolchain().ensure()
    assert (b.installed(), b.builds()) == ([], 0)


def test_another_pinned_fingerprint_refuses_the_same_release(bench):
    b = bench(fingerprint="A" * 40)
    b.publish()
    with pytest.raises(ToolError, match=f"only the key {'A' * 40} counts"):
        b.toolchain().ensure()
    assert b.installed() == []


def test_text_outside_the_signed_message_is_not_read(bench):
    b = bench()
    b.publish()
    line = b.site.files["SUMS"].split(b"\n")[4]
    assert line.endswith(b.archive.encode())
    evil = b"f" * 64 + line[64:]
    b.site.files["SUMS"] = evil + b"\n" + b.site.files["SUMS"]
    with pytest.raises(ToolError, match="not one signed message"):
        b.toolchain().ensure()
    assert b.installed() == []


def test_signed_sums_without_the_archives_name_install_nothing(bench):
    b = bench()
    b.publish()
    b.site.files["SUMS"] = b.keys.inline(b"0" * 64 + b"  another.zip\n")
    with pytest.raises(ToolError, match=r"does not name alpha-1\.2\.3\.zip exactly once"):
        b.toolchain().ensure()


def test_an_archive_cannot_write_outside_its_folder(bench):
    b = bench(kind="tar.gz", proof="sums")
    b.publish()
    with tarfile.open(fileobj=io.BytesIO(b.site.files[b.archive])) as tar:
        assert "alpha/../../escaped" in tar.getnames()
    b.toolchain().ensure()
    assert not list(b.tmp.rglob("escaped"))


def test_an_interrupted_download_continues_where_it_stopped(bench):
    b = bench()
    b.publish()
    b.site.cut[b.archive] = [100, 50]
    assert b.toolchain().ensure()["alpha"].origin == "official release"
    spans = [span for _, path, span in b.site.asked if path == b.archive]
    assert spans == ["", "bytes=100-", "bytes=150-"]


def test_a_changed_rest_of_a_resumed_download_is_noticed(bench):
    b = bench()
    b.publish()
    part = b.cache / "downloads" / "alpha-1.2.3" / f"{b.archive}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100)
    with pytest.raises(ToolError, match="is not what was published"):
        b.toolchain().ensure()
    assert b.toolchain().ensure()["alpha"].origin == "official release"


@pytest.mark.parametrize("left", ["whole", "too long"])
def test_killed_after_the_last_byte_needs_no_second_download(bench, left):
    b = bench()
    b.publish()
    part = b.cache / "downloads" / "alpha-1.2.3" / f"{b.archive}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b.site.files[b.archive] + (b"" if left == "whole" else b"xx"))
    assert b.toolchain().ensure()["alpha"].origin == "official release"


def test_a_run_killed_during_the_download_is_continued_by_the_next(bench):
    b = bench()
    b.publish(PROGRAM + os.urandom(2 * fetch.CHUNK))
    b.site.cut[b.archive], b.site.stall[b.archive] = [fetch.CHUNK + 100], threading.Event()
    first = b.start()
    part = b.cache / "downloads" / "alpha-1.2.3" / f"{b.archive}.part"
    b.until(lambda: part.exists() and part.stat().st_size == fetch.CHUNK)
    first.kill()
    first.communicate()
    assert b.installed() == []
    assert b.toolchain().ensure()["alpha"].origin == "official release"
    spans = [span for _, path, span in b.site.asked if path == b.archive]
    assert spans == ["", f"bytes={fetch.CHUNK}-"]


def test_two_runs_at_once_download_once(bench):
    b = bench()
    b.publish()
    runs = [b.start() for _ in range(2)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [output.split()[:2] for output in outputs] == [["official", "release"]] * 2
    assert sum(path == b.archive for _, path, _ in b.site.asked) == 1


def test_a_missing_gpg_is_an_error_with_its_fix_and_does_not_skip_the_check(bench, monkeypatch):
    b = bench()
    b.with_go()
    b.publish()
    monkeypatch.setenv("PATH", str(b.bin))
    with pytest.raises(ToolError, match="apt-get install gnupg"):
        b.toolchain().ensure()
    assert (b.installed(), b.builds()) == ([], 0)


def test_a_missing_release_opens_the_next_way_and_is_reported(bench, capsys):
    b = bench()
    b.with_go()
    b.site.files["KEYS"] = b""
    assert b.toolchain().ensure()["alpha"].origin == "built from registry"
    assert "HTTP 404" in capsys.readouterr().err


def test_a_silent_network_is_detected_once_and_soon(bench, site, monkeypatch):
    b = bench()
    b.with_go()
    site.files.clear()
    silent = threading.Event()
    monkeypatch.setattr(fetch, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(fetch, "_probe", lambda _: silent.wait(20))
    start = time.monotonic()
    assert b.toolchain().ensure()["alpha"].origin == "built from registry"
    assert time.monotonic() - start < 5
    monkeypatch.setattr(fetch, "_probe", lambda _: pytest.fail("asked again"))
    with pytest.raises(fetch.Closed, match="not reached: no answer"):
        fetch.reach(f"{site.url}/other", [])
    silent.set()


def test_plain_http_is_refused_and_https_never_falls_back_to_it():
    with pytest.raises(ToolError, match="must be https"):
        fetch.small("http://example.test/SUMS")
    handler, request = fetch._StayEncrypted(), urllib.request.Request("https://example.test/a")
    with pytest.raises(urllib.error.URLError, match="redirected from https"):
        handler.redirect_request(request, io.BytesIO(), 302, "", {}, "http://example.test/a")
    assert handler.redirect_request(request, io.BytesIO(), 302, "", {}, "https://cdn.example.test/a")
