"""The store that each part of the conformance suite is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crewmem_store.store import PartitionStore, Store
from store.store_rows import owner

Reopen = Callable[[], Store]
"""Gives a store object at the test's one place, each time anew: what one wrote, the next one reads."""


class StoreFixtures:
    """A subclass gives `reopen`."""

    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("a subclass gives the fixture `reopen`: a function that opens the place anew")

    @pytest.fixture
    def store(self, reopen: Reopen) -> Store:
        return reopen()

    @pytest.fixture
    def part(self, store: Store) -> PartitionStore:
        return owner(store)
