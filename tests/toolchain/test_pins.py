"""versions.toml is the only file with pins: every other mention of a version agrees with it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys

import pytest

from toolchain import ToolError
from toolchain.checkout import ROOT
from toolchain.pins import load, this_machine

TOOLS = load().tools
BUILT = [name for name, pin in TOOLS.items() if pin.build and not pin.build.standin]


def go_mod(tool):
    return (ROOT / "toolchain/go" / tool / "go.mod").read_text()


@pytest.mark.parametrize("plugin", ["command", "random"])
def test_a_plugin_has_the_version_that_its_sdk_asks_for(plugin):
    pinned = re.findall(rf"^pulumi-{plugin}==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert pinned == [TOOLS[f"pulumi-resource-{plugin}"].version]


def test_the_sdk_has_the_engines_version():
    """One version of Pulumi, in the engine and in the program that it runs."""
    pinned = re.findall(r"^pulumi==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert pinned == [TOOLS["pulumi"].version]


@pytest.mark.parametrize("tool", BUILT)
def test_go_builds_the_pinned_module(tool):
    module = TOOLS[tool].build.module
    assert re.findall(r"^require (\S+ \S+)$", go_mod(tool), re.M) == [module]
    assert re.findall(r"^tool (\S+)$", go_mod(tool), re.M) == [TOOLS[tool].build.package]
    assert f"{module} h1:" in (ROOT / "toolchain/go" / tool / "go.sum").read_text()


def test_replacements_in_upstreams_go_mod_are_repeated():
    fork = "github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e"
    assert f"replace github.com/atotto/clipboard => {fork}" in go_mod("pulumi")
    assert "godebug winsymlink=0" in go_mod("restic")
    assert "godebug (\n\tmultipathtcp=0\n\tx509negativeserial=1\n)" in go_mod("rclone")


def test_every_build_has_its_module_and_every_module_its_pin():
    assert sorted(BUILT) == sorted(path.name for path in (ROOT / "toolchain/go").iterdir())


def test_the_language_host_has_the_engines_version():
    assert TOOLS["pulumi-language-python"].version == TOOLS["pulumi"].version
    assert TOOLS["pulumi-language-python"].release.archive == TOOLS["pulumi"].release.archive


@pytest.mark.parametrize("tool", ["rclone", "restic"])
def test_backup_tools_need_a_signature_and_a_minimum_version(tool):
    pin = TOOLS[tool]
    assert re.fullmatch("[0-9A-F]{40}", pin.release.fingerprint)
    assert pin.release.signature
    assert pin.release.keys
    assert pin.oldest == pin.version
    assert pin.why


@pytest.mark.parametrize("tool", TOOLS)
def test_every_release_has_a_proof_and_comes_by_https(tool):
    release = TOOLS[tool].release
    assert release.sums or re.fullmatch("[0-9a-f]{64}", release.sha256)
    for url in (release.archive, release.sums, *release.keys):
        assert not url or url.startswith("https://")
        assert "{" not in url


@pytest.mark.parametrize(
    ("tool", "machine", "archive"),
    [
        ("pulumi", ("Linux", "x86_64"), "pulumi-v3.259.0-linux-x64.tar.gz"),
        ("pulumi", ("Linux", "aarch64"), "pulumi-v3.259.0-linux-arm64.tar.gz"),
        ("pulumi-resource-command", ("Linux", "x86_64"), "pulumi-resource-command-v1.2.1-linux-amd64.tar.gz"),
        ("rclone", ("Darwin", "arm64"), "rclone-v1.76.0-osx-arm64.zip"),
        ("restic", ("Linux", "x86_64"), "restic_0.19.1_linux_amd64.bz2"),
        ("minio", ("Linux", "aarch64"), "minio.linux-arm64.RELEASE.2025-09-07T16-13-09Z"),
        ("minio", ("Darwin", "arm64"), None),
        ("versitygw", ("Linux", "x86_64"), "versitygw_v1.8.0_Linux_x86_64.tar.gz"),
        ("versitygw", ("Darwin", "arm64"), "versitygw_v1.8.0_Darwin_arm64.tar.gz"),
    ],
)
def test_archives_are_named_as_upstream_names_them(monkeypatch, tool, machine, archive):
    monkeypatch.setattr(platform, "system", lambda: machine[0])
    monkeypatch.setattr(platform, "machine", lambda: machine[1])
    release = load().tools[tool].release
    assert (release and release.archive.rsplit("/", 1)[1]) == archive


@pytest.mark.parametrize(
    ("tool", "architecture", "archive"),
    [
        ("rclone", "amd64", "rclone-v1.76.0-linux-amd64.zip"),
        ("rclone", "armhf", "rclone-v1.76.0-linux-arm-v7.zip"),
        ("rclone", "i386", "rclone-v1.76.0-linux-386.zip"),
        ("restic", "arm64", "restic_0.19.1_linux_arm64.bz2"),
        ("restic", "armhf", "restic_0.19.1_linux_arm.bz2"),
        ("restic", "i386", "restic_0.19.1_linux_386.bz2"),
    ],
)
def test_archives_for_hosts_are_named_as_upstream_names_them(monkeypatch, tool, architecture, archive):
    """Even from a workstation of another kind."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    pin = load().for_host(tool, architecture)
    assert pin.release.archive.rsplit("/", 1)[1] == archive
    assert pin.platform == f"linux-{architecture}"


def test_an_unsupported_machine_is_reported(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ToolError, match="riscv64 is not supported: use Linux or macOS on amd64 or arm64"):
        this_machine()


@pytest.mark.parametrize(
    ("tool", "output", "version", "fits"),
    [
        ("rclone", "rclone v1.60.1-DEV\n- os/version: debian", "1.60.1-DEV", False),
        ("rclone", "rclone v1.76.0\n- os/version: debian 12.11", "1.76.0", True),
        ("restic", "restic 0.14.0 compiled with go1.19.8 on linux/amd64", "0.14.0", False),
        ("restic", "restic 0.20.0 compiled with go1.26.8 on linux/amd64", "0.20.0", True),
        ("pulumi", "v3.259.0\n", "3.259.0", True),
        ("pulumi", "v3.258.9\n", "3.258.9", False),
        ("pulumi", "v4.0.0\n", "4.0.0", False),
        ("minio", "minio version RELEASE.2025-09-07T16-13-09Z (commit-id=x)", "2025-09-07T16-13-09Z", True),
        ("minio", "minio version RELEASE.2024-01-01T16-36-33Z (commit-id=x)", "2024-01-01T16-36-33Z", False),
        ("versitygw", "Version  : 1.8.0\nBuild    : \nBuildTime: \n", "1.8.0", True),
        ("versitygw", "Version  : git\nBuild    : \nBuildTime: \n", "without a readable version", False),
        ("minio", "minio version DEVELOPMENT.GOGET\nRuntime: go1.26.8", "without a readable version", False),
    ],
)
def test_versions_are_read_as_the_tools_print_them(tool, output, version, fits):
    assert TOOLS[tool].reads(output) == (version, fits)


def run(*arguments, **environ):
    command = [sys.executable, "-m", "toolchain", *arguments]
    env = {"PATH": "/usr/bin:/bin", **environ}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_list_fetches_nothing_and_names_every_tool(tmp_path):
    done = run("list", HOME=str(tmp_path), LASTCOPY_CACHE=str(tmp_path / "cache"))
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(TOOLS)
    assert not (tmp_path / "cache").exists()


def test_an_unknown_tool_is_an_error_on_one_line_without_a_traceback(tmp_path):
    done = run("ensure", "rsync", HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no tool rsync; the tools are pulumi, ")
    assert done.stderr.count("\n") == 1
