"""What a batch is decided from, as the owner of a partition read it from LanceDB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crewmem_store.rows import LedgerRow, MemoryRow


class LanceView:
    """A `PartitionView` over rows that were looked up by scope, without the columns that nothing is decided from."""

    def __init__(self, rows: Mapping[str, Sequence[MemoryRow]], ledger: Iterable[LedgerRow], *, epoch: int) -> None:
        self._rows = rows
        self._epoch = epoch
        self._ledger: dict[str | None, list[LedgerRow]] = defaultdict(list)
        for row in ledger:
            self._ledger[row.ce_id].append(row)

    @property
    def epoch(self) -> int:
        return self._epoch

    def rows(self, scope: str) -> Sequence[MemoryRow]:
        return self._rows.get(scope, ())

    def ledger(self, ce_id: str) -> Sequence[LedgerRow]:
        return self._ledger.get(ce_id, ())
