"""One storage for all tests of the prune; each test gets a repository of its own, as tests/recover does."""

from __future__ import annotations

from tests.recover.conftest import bed, master, vault

__all__ = ["bed", "master", "vault"]
