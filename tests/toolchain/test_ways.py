"""What the user has comes first; then the release; then Go; and if no way works, all reasons are reported."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from toolchain import ToolError, build
from toolchain.toolchain import Toolchain


def says(version: str) -> str:
    return f"#!/bin/sh\necho alpha v{version}\n"


@pytest.mark.parametrize(
    ("on_path", "extra", "fits"),
    [
        ("1.2.3", "", True),
        ("1.2.4", "", True),
        ("1.10.0", "", True),
        ("2.0.0", "", True),
        ("2.0.0", 'below = "2.0.0"', False),
        ("1.2.2", "", False),
        ("0.9.9", "", False),
        ("1.2.3-beta.7", "", False),
        ("1.2.4-DEV", "", True),
        ("1.2.0", 'oldest = "1.2.0"', True),
        ("what", "", False),
    ],
)
def test_a_program_on_path_is_used_only_if_its_version_is_suitable(bench, capsys, on_path, extra, fits):
    b = bench(extra=extra)
    b.publish()
    own = b.program("alpha", says(on_path))
    tool = b.toolchain().ensure()["alpha"]
    if fits:
        assert (tool.origin, tool.path, tool.version) == ("PATH", own, on_path)
        assert b.site.asked == []
        return
    assert tool.origin == "official release"
    said = [line for line in capsys.readouterr().err.splitlines() if "is not used" in line]
    assert len(said) == 1
    assert str(own) in said[0]
    assert "ADVISORY-1" in said[0]


def test_a_suitable_program_after_an_old_one_is_found(bench):
    b = bench()
    b.program("alpha", says("1.0.0"))
    newer = b.program("alpha", says("1.3.0"), b.tmp / "later")
    b.environ["PATH"] += f":{newer.parent}"
    assert b.toolchain().ensure()["alpha"].path == newer


def test_a_program_in_the_working_directory_is_never_run(bench, monkeypatch):
    b = bench()
    b.publish()
    b.program("alpha", f"#!/bin/sh\ntouch {b.tmp}/was-run\n", b.tmp / "here")
    monkeypatch.chdir(b.tmp / "here")
    b.environ["PATH"] = f".::{b.environ['PATH']}"
    assert b.toolchain().ensure()["alpha"].origin == "official release"
    assert not (b.tmp / "was-run").exists()


def test_without_the_release_go_builds_the_pinned_module(bench):
    b = bench()
    b.with_go()
    tool = b.toolchain().ensure()["alpha"]
    assert tool.origin == "built from registry"
    arguments = (b.home / "go-arguments").read_text().splitlines()
    assert {"build", "-mod=readonly", "-trimpath", "example.test/alpha"} <= set(arguments)
    assert b.toolchain().ensure()["alpha"] == tool
    assert b.builds() == 1


def test_caches_made_for_the_build_are_removed_and_the_users_are_kept(bench):
    b = bench()
    b.with_go()
    (b.home / "go/pkg/mod/theirs").mkdir(parents=True)
    b.toolchain().ensure()
    assert (b.home / "go/pkg/mod/theirs").is_dir()
    assert (b.home / "go-modcache").read_text() == "\n"  # Go's own default, which belongs to the user
    assert not (b.home / ".gocache").exists()
    assert not (b.cache / "go").exists()


def test_caches_made_for_the_build_are_kept_while_something_is_missing(bench):
    b = bench()
    b.with_go(FAKE_GO_BUILD="mkdir -p half/done")
    assert b.toolchain().ensure()
    b.environ["FAKE_GO_BUILD"] = "false"
    (b.cache / "go" / "gomodcache" / "fetched").mkdir(parents=True)
    for path in b.installed():
        path.unlink()
    with pytest.raises(ToolError):
        b.toolchain().ensure()
    assert (b.cache / "go" / "gomodcache" / "fetched").is_dir()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (None, "go is not on PATH"),
        ({"FAKE_GO_VERSION": "go1.20.1"}, "is Go 1.20.1; it must be at least 1.26.0"),
        ({"FAKE_GO_VERSION": "go1.25.9", "GOTOOLCHAIN": "local"}, "GOTOOLCHAIN=local"),
        ({"FAKE_GO_BUILD": "false"}, "go build failed:\n      go: downloading example.test/alpha v1.2.3"),
    ],
)
def test_the_error_without_any_way_gives_the_reason_and_fix_for_each(bench, settings, reason):
    b = bench()
    b.program("alpha", says("1.0.0"))
    if settings is not None:
        b.with_go(**settings)
    with pytest.raises(ToolError) as error:
        b.toolchain().ensure()
    text = str(error.value)
    assert "alpha 1.2.3 or newer is needed" in text
    assert f"on PATH: {b.bin}/alpha is 1.0.0" in text
    assert "official release: http://127.0.0.1" in text
    assert f"built with Go: {reason}" in text.replace(f"{b.bin}/go is", "is") or reason in text
    assert "Fix: put alpha 1.2.3 or newer on PATH, or install Go 1.26.0" in text
    assert "lastcopy tools ensure alpha" in text
    assert b.installed() == []


def test_an_older_go_is_used_if_it_may_fetch_a_newer_one(bench):
    b = bench()
    b.with_go(FAKE_GO_VERSION="go1.22.0")
    assert b.toolchain().ensure()["alpha"].origin == "built from registry"


def test_too_little_disk_space_is_reported_before_the_build(bench, monkeypatch):
    b = bench()
    b.with_go()
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(build.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ToolError, match=r"0\.0 GiB free"):
        b.toolchain().ensure()
    assert b.builds() == 0


def test_two_runs_at_once_build_once(bench):
    b = bench()
    go_on = b.home / "go-on"
    wait = f"for i in $(seq 600); do [ ! -e {go_on} ] || exit 0; sleep 0.1; done"
    b.with_go(FAKE_GO_BUILD=str(b.program("wait-for-go-on", f"#!/bin/sh\n{wait}\nexit 1\n")))
    first = b.start()
    b.until(b.builds)
    second = b.start()
    assert second.stdout is not None
    assert second.stderr is not None
    said = ""
    for line in second.stderr:
        said += line
        if "waiting for another run" in line:
            go_on.touch()
    built = [first.communicate(timeout=60), (second.stdout.read(), said)]
    assert second.wait(60) == 0
    second.stdout.close()
    second.stderr.close()
    assert [out.split()[0] for out, _ in built] == ["built"] * 2
    assert b.builds() == 1
    assert [err.count("waiting for another run") for _, err in built] == [0, 1]


def test_a_run_killed_during_the_build_leaves_nothing_partial_and_the_next_succeeds(bench):
    b = bench()
    b.with_go(FAKE_GO_BUILD="sleep 2")
    first = b.start()
    b.until(b.builds)
    first.kill()
    first.communicate()
    assert b.installed() == []
    b.environ["FAKE_GO_BUILD"] = "true"
    tool = b.toolchain().ensure()["alpha"]
    assert subprocess.check_output([tool.path]) == b"alpha v1.2.3 built\n"
    assert not (b.cache / "tmp").exists()


def test_a_folder_without_its_mark_is_not_taken_for_complete(bench):
    b = bench()
    b.publish()
    half = b.cache / "tools" / "alpha" / "1.2.3"
    half.mkdir(parents=True)
    (half / "alpha").write_text("half")
    (half / "alpha").chmod(0o755)
    tool = b.toolchain().ensure()["alpha"]
    assert Path(tool.path).read_bytes() == b"#!/bin/sh\necho alpha v1.2.3\n"


def test_unknown_names_are_reported_together_with_the_known_ones(bench):
    with pytest.raises(ToolError, match="there is no tool beta, gamma; the tools are alpha"):
        bench().toolchain().ensure("beta", "alpha", "gamma")


def test_tools_of_the_tests_are_fetched_for_tests_or_by_name_only(bench):
    b = bench(extra='only = "tests"')
    b.publish()
    assert b.toolchain().ensure() == {}
    assert (b.site.asked, b.installed()) == ([], [])
    assert list(b.toolchain().ensure(tests=True)) == ["alpha"]
    assert list(b.toolchain().ensure("alpha")) == ["alpha"]


def test_the_local_stack_fetches_no_tool_of_the_tests():
    pins = Toolchain().pins.tools
    assert [name for name, pin in pins.items() if pin.only] == ["versitygw"]
    assert {pin.only for pin in pins.values()} == {"", "tests"}
