"""The store in memory keeps the store contract."""

from __future__ import annotations

import pytest
from crewmem_store.memory import MemoryStore
from store.conformance_store import Reopen, StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def reopen(self) -> Reopen:
        store = MemoryStore()

        def opened() -> MemoryStore:
            store.open(namespace="crewmem")
            return store

        return opened
