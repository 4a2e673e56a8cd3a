"""The catalogue of S3 services: complete, sourced, and what settings say of a service that cannot work."""

from __future__ import annotations

import datetime
from typing import get_args

import pytest

from components.storage.service_facts import (
    LOSES,
    MEANS,
    Checksum,
    Parts,
    ServiceName,
    StorageService,
    rows_lost,
)
from components.storage.services import SERVICES, USABLE
from toolchain.checkout import ROOT

THREATS = (ROOT / "docs" / "threat-model.md").read_text()


def test_every_name_that_a_stack_file_may_contain_is_a_service() -> None:
    assert set(get_args(ServiceName)) == set(SERVICES)
    assert all(name == service.name for name, service in SERVICES.items())


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_every_fact_has_a_source_and_a_date(service: StorageService) -> None:
    for name, fact in service.facts().items():
        assert datetime.date.fromisoformat(fact.date) <= datetime.date(2026, 12, 31), name
        assert fact.source or fact.value is None, f"{service.name}: {name} is claimed without a source"


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_every_service_accepts_some_checksum(service: StorageService) -> None:
    assert service.uploads().checksum is service.upload_checksum() is service.checksum.value
    assert service.uploads("md5").checksum is Checksum.MD5
    assert service.uploads("trailer").checksum is Checksum.TRAILER


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_rclone_compares_afterwards_only_if_the_service_is_not_known_to_read_a_trailer(
    service: StorageService,
) -> None:
    assert not service.uploads().compares
    assert not service.uploads("md5").compares
    assert service.uploads("trailer").compares is (service.checksum.value is Checksum.MD5)


def test_what_is_lost_names_facts_and_rows_that_exist() -> None:
    for name, rows in LOSES.items():
        assert name in SERVICES["Other"].facts()
        assert all(f"| {row} |" in THREATS for row in rows)


def test_ceph_loses_the_conditional_write_and_amazon_nothing() -> None:
    assert "S5" in rows_lost(SERVICES["Ceph"])
    assert rows_lost(SERVICES["AWS"]) == ()


def test_only_services_without_locks_are_refused() -> None:
    assert set(SERVICES) - set(USABLE) == {"Cloudflare", "Google"}
    assert set(rows_lost(SERVICES["Cloudflare"])) == {"R1", "R2", "R3"}
    assert set(rows_lost(SERVICES["Google"])) == {"R1", "R2"}


def test_every_loss_is_explained() -> None:
    assert set(MEANS) == set(LOSES)


def test_a_service_that_refuses_conditions_does_not_hold_them() -> None:
    """To send one there would refuse every upload (tests/gates)."""
    refusing = {name for name, service in SERVICES.items() if not service.takes_conditions}
    assert refusing == {"Backblaze"}
    assert all(SERVICES[name].conditional_write.value is False for name in refusing)


@pytest.mark.parametrize(("cutoff", "size"), [(-1, 16), (0, 4), (6000, 16)])
def test_parts_that_s3_does_not_accept_are_refused(cutoff: int, size: int) -> None:
    with pytest.raises(ValueError, match="S3 takes parts of 5 to 5120 MiB"):
        Parts(cutoff=cutoff, size=size)
