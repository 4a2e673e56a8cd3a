"""Which release a host gets: that of its architecture, one that was brought along, none if it may not fetch; and the pins of the real releases."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from components.host.tool_release import pins, release_values
from tests.scripts.relay.host_tool.makers import FAKE, TOOLS, Makers, put, run

# By Debian's names, in the way the makers' own build scripts name their files (rclone bin/cross-compile.go, restic helpers/build-release-binaries).
NAMES = {
    "rclone": {"amd64": "amd64", "arm64": "arm64", "armhf": "arm-v7", "i386": "386"},
    "restic": {"amd64": "amd64", "arm64": "arm64", "armhf": "arm", "i386": "386"},
}


def of(view: Path, architecture: str) -> None:
    """Make dpkg report this architecture."""
    dpkg = view / "sbin/dpkg"
    dpkg.parent.mkdir(exist_ok=True)
    dpkg.write_text(f"#!/bin/sh\necho {architecture}\n")
    dpkg.chmod(0o755)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("architecture", ["arm64", "armhf", "i386"])
def test_a_host_gets_the_release_of_its_own_architecture(
    makers: Makers, view: Path, tool: str, architecture: str
) -> None:
    makers.publish(tool, TOOLS[tool])  # the wrong one is there, too
    makers.publish(tool, TOOLS[tool], arch=NAMES[tool][architecture])
    of(view, architecture)
    answer = run(view, makers.values(tool))
    assert answer.code == 0, answer.words
    [archive] = [path for path in makers.asked if path.endswith((".deb", ".bz2"))]
    assert archive.split("linux")[1][1:] == NAMES[tool][architecture] + archive[archive.rindex(".") :]


@pytest.mark.parametrize("tool", TOOLS)
def test_an_architecture_without_a_release_is_refused_by_name(makers: Makers, view: Path, tool: str) -> None:
    of(view, "riscv64")
    answer = run(view, makers.values(tool))
    assert answer.code == 1
    assert (
        "there is none for this host's architecture riscv64 (there are: amd64 arm64 armhf i386)"
        in answer.words
    )
    assert makers.asked == []
    # A suitable tool that the host already has is used anyway.
    put(view, tool, ("v" if tool == "rclone" else "") + TOOLS[tool])
    assert run(view, makers.values(tool)).code == 0


def test_a_missing_package_is_reported_with_the_advisory(makers: Makers, view: Path) -> None:
    """The host's tool is refused for a reason; that it cannot be replaced must not hide the reason."""
    put(view, "rclone", "v1.60.1")
    apt = view / "sbin/apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package gpg'; exit 100\n")
    apt.chmod(0o755)
    answer = run(view, makers.values("rclone"), hide="gpg")
    assert answer.code == 1
    for told in (
        "found: /usr/local/bin/rclone 1.60.1",
        "GHSA-45pq-889g-fcgh",
        "packages 'gpg'",
        "Unable to locate",
        "fix:",
    ):
        assert told in answer.words
    assert makers.asked == []


def test_a_host_that_fetches_nothing_contacts_no_server(makers: Makers, view: Path) -> None:
    """toolsFrom: workstation. Sabotage: on a host that fetches, the same release is installed."""
    makers.publish("restic", TOOLS["restic"])
    answer = run(view, makers.values("restic", FETCHES="no"))
    assert answer.code == 1
    assert "which fetches nothing itself (toolsFrom: workstation)" in answer.words
    assert makers.asked == []
    assert run(view, makers.values("restic")).code == 0


@pytest.fixture
def brought(view: Path) -> tuple[Path, str]:
    """A program that the host's root brought along with the enrolment script, and its digest."""
    path = view / "brought"
    path.write_text(FAKE.format(tool="restic", version=TOOLS["restic"]))
    return Path("/usr/local/brought"), hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_program_that_was_brought_along_is_used_if_its_digest_is_right(
    makers: Makers, view: Path, brought: tuple[Path, str]
) -> None:
    path, digest = brought
    for given, told in (
        (f"{path} {'0' * 64}", "its SHA-256 is not 000"),
        (f"/nowhere {digest}", "cannot be read"),
    ):
        refused = run(view, makers.values("restic"), f"apply '' {given}")
        assert refused.code == 1
        assert told in refused.words
        assert not any((view / "lib/lastcopy").rglob("restic"))
    answer = run(view, makers.values("restic"), f"apply '' {path} {digest}")
    assert answer.code == 0, answer.words
    assert answer.facts["path"] == "/usr/local/lib/lastcopy/restic-0.19.1/restic"
    assert (view / "brought").exists()
    assert makers.asked == []


def test_the_real_release_is_pinned_completely() -> None:
    """Signing keys as the projects publish them; https only."""
    for tool, fingerprint in (
        ("rclone", "FBF737ECE9F8AB18604BD2AC93935E02FF3B54FA"),
        ("restic", "CF8F18F2844575973F79D4E191A6868BD3F7A907"),
    ):
        values = release_values(tool)
        assert values["FINGERPRINT"] == fingerprint
        urls = [values["ARCHIVE"], values["SUMS"], *values["KEYS"].split()]
        urls += [values["SIGNATURE"]] if values["SIGNATURE"] != "inline" else []
        assert all(
            url.startswith("https://") and "{version}" not in url and "{os}" not in url for url in urls
        )
        assert values["VERSION"] in values["ARCHIVE"]
        assert pins()[tool]["host"]["arch"] == NAMES[tool]
