"""The store in LanceDB keeps the store contract, in a folder and on object storage."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewmem_store.lance import LanceStore
from store.conformance_store import Reopen, StoreConformance


class TestLanceStoreInAFolder(StoreConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        def opened() -> LanceStore:
            store = LanceStore(str(tmp_path / "store"))
            store.open(namespace="crewmem")
            return store

        return opened
