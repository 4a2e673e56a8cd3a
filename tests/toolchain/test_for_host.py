"""A tool for a host of another architecture: verified like this machine's own, kept beside it, and never simply taken from PATH."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import ToolError
from toolchain.checkout import ROOT
from toolchain.pins import this_machine

FOREIGN = b"#!/bin/sh\necho alpha for another machine\n"


@pytest.fixture
def b(bench):
    made = bench(hosts=True)
    made.publish()
    made.publish(FOREIGN, arch="arm-v7")
    return made


def test_the_release_for_the_hosts_architecture_is_verified_and_kept_beside_this_machines(b):
    own = b.toolchain().ensure()["alpha"]
    tool = b.toolchain().for_host("alpha", "armhf")
    assert (tool.version, tool.origin) == ("1.2.3", "official release")
    assert tool.path.read_bytes() == FOREIGN
    assert tool.path.parent.name == "1.2.3-linux-armhf"
    assert b.toolchain().ensure()["alpha"] == own
    b.site.asked.clear()
    assert b.toolchain().for_host("alpha", "armhf") == tool
    assert b.site.asked == []


def test_a_tampered_release_is_not_handed_over(b):
    b.site.files[b.archive_of("arm-v7")] += b" "
    b.with_go()  # the next way is open and must not be used
    with pytest.raises(ToolError, match="is not what was published"):
        b.toolchain().for_host("alpha", "armhf")
    assert (b.installed(), b.builds()) == ([], 0)


def test_this_machines_own_architecture_shares_its_cache(b):
    system, machine = this_machine()
    assert system == "linux"
    tool = b.toolchain().for_host("alpha", machine)
    assert tool.path.parent.name == "1.2.3"
    b.site.asked.clear()
    assert b.toolchain().ensure()["alpha"] == tool
    assert b.site.asked == []


def test_a_program_on_path_is_not_used(b):
    """It may be linked against libraries that the host lacks, and nobody verified it."""
    b.program("alpha", "#!/bin/sh\necho alpha v1.2.3\n")
    assert b.toolchain().ensure()["alpha"].origin == "PATH"
    assert b.toolchain().for_host("alpha", this_machine()[1]).origin == "official release"


@pytest.mark.parametrize(
    ("architecture", "told"), [("armhf", "linux arm 7"), ("i386", "linux 386 "), ("arm64", "linux arm64 ")]
)
def test_if_only_the_module_proxy_can_be_reached_go_builds_for_the_host(bench, architecture, told):
    b = bench(hosts=True)
    b.with_go()
    tool = b.toolchain().for_host("alpha", architecture)
    assert tool.origin == "built from registry"
    assert tool.path.parent.name == f"1.2.3-linux-{architecture}"
    assert (b.home / "go-target").read_text() == f"{told}\n"


def test_an_architecture_without_a_release_is_refused_by_name(b):
    with pytest.raises(
        ToolError, match=r"'riscv64'; known are amd64, arm64, armhf, i386\n  fix:     install alpha 1\.2\.3"
    ):
        b.toolchain().for_host("alpha", "riscv64")
    assert b.site.asked == []


def test_a_file_to_bring_along_is_written_with_its_digest(tmp_path):
    """For sources without Internet access; the enrolment script takes both as arguments."""
    command = [
        sys.executable,
        "-m",
        "toolchain",
        "host",
        "restic",
        "--architecture",
        "amd64",
        "--to",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    path, digest = done.stdout.split()
    assert path == f"{tmp_path}/restic-0.19.1-linux-amd64"
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
    refused = subprocess.run(
        [*command[:-1], "/dev/null/x"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr
