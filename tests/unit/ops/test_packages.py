"""What the tests need from Debian: no server of theirs starts as a service of the machine, and the owner's own units stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import packages


def test_services_are_masked_before_the_packages_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandbox import apt

    (tmp_path / "ssh.service").symlink_to("/somewhere/of/the/owner")
    told: list[set[str]] = []

    def install(names: list[str], *, purpose: str) -> None:
        assert purpose == "tests"
        told.append(set(names))
        masked = {unit.name for unit in tmp_path.iterdir() if str(unit.readlink()) == "/dev/null"}
        assert masked == {"ssh.socket", "ceph-radosgw.target", "radosgw.service"}

    monkeypatch.setattr(packages, "UNITS", tmp_path)
    monkeypatch.setattr(packages, "find_missing", lambda: ["openssh-server", "radosgw"])
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "raise_watch_limit", lambda: None)
    monkeypatch.setattr(apt, "install", install)
    packages.install_for_tests()
    assert told == [{"openssh-server", "radosgw"}]
    assert str((tmp_path / "ssh.service").readlink()) == "/somewhere/of/the/owner"


def test_every_package_with_services_is_one_that_is_installed() -> None:
    assert set(packages.SERVICES) <= set(packages.NEEDS.values())
