"""The rules that decide what is published from now on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import StoreSettings

from crewmem.cli import parts

if TYPE_CHECKING:
    from crewmem_store.rows import LedgerRow
    from crewmem_store.store import Store


async def rules_now(settings: StoreSettings) -> str | None:
    """The text of the rule file that was applied to the log last; None when none was, so that the default one decides.

    Found in the ledger of the generation that answers, and on the log behind what that has processed. Raises LogUnavailable,
    StoreUnavailable, SettingsError where there is no log.
    """
    from crewmem_consumers.newest_rules import newest_rules

    async with (
        parts.existing_log(settings) as log,
        parts.registry(settings) as registry,
        parts.existing_store(settings) as store,
    ):
        first, before = await _known(log, registry, store)
        return await newest_rules(log, first=first, ends=await log.end(), before=before)


async def _known(log: EventLog, registry: Registry, store: Store | None) -> tuple[Mapping[int, int], Mapping[int, LedgerRow]]:
    """From where on the log must be read, and what the ledger has of rules below that."""
    from crewmem_consumers.newest_rules import rules_by_partition
    from crewmem_store import generations, switch

    active = generations.active_or_none(registry)
    if store is None or active is None or active.partitions != log.partitions:
        return await log.first(), {}
    reader = store.reader(active.name)
    return await switch.positions(log, reader), await rules_by_partition(reader, range(log.partitions))
