"""What a batch is decided from, as the owner of a partition read it from LanceDB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crewmem_producers.names import record_key

from crewmem_store import effects
from crewmem_store.rows import LedgerRow, MemoryRow


class LanceView:
    """A `PartitionView` over rows that were looked up by scope, without the columns that nothing is decided from."""

    def __init__(self, rows: Mapping[str, Sequence[MemoryRow]], ledger: Iterable[LedgerRow], *, epoch: int) -> None:
        self._rows = rows
        self._epoch = epoch
        self._ledger: dict[str | None, list[LedgerRow]] = defaultdict(list)
        for row in ledger:
            self._ledger[row.ce_id].append(row)

    @classmethod
    def of(
        cls, rows: Iterable[MemoryRow], ledger: Iterable[LedgerRow], *, scopes: Iterable[str], epoch: int
    ) -> LanceView:  # fmt: skip
        """Of the rows of these scopes and of their record keys, as their sessions' erasures leave them."""
        by_value: dict[str | None, list[MemoryRow]] = defaultdict(list)
        for row in rows:
            by_value[row.scope].append(row)
        return cls({scope: _of_scope(scope, by_value) for scope in scopes}, ledger, epoch=epoch)

    @property
    def epoch(self) -> int:
        return self._epoch

    def rows(self, scope: str) -> Sequence[MemoryRow]:
        return self._rows.get(scope, ())

    def ledger(self, ce_id: str) -> Sequence[LedgerRow]:
        return self._ledger.get(ce_id, ())


def _of_scope(scope: str, by_value: Mapping[str | None, Sequence[MemoryRow]]) -> list[MemoryRow]:
    found = [row for value in (scope, record_key(scope)) for row in by_value.get(value, ())]
    below = effects.erasures(found)
    kept = effects.of_scope((effects.effective(row, below) for row in found), scope)
    return sorted(kept, key=lambda row: (row.offset, row.span, row.id))
