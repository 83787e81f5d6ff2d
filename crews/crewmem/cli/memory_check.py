"""What `crewmem doctor` says of the memories in the store: whether they can be read, and are what was written."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from crewmem_producers.errors import CrewmemError

from crewmem.cli.checks import Finding, State, failed
from crewmem.cli.console import counted

if TYPE_CHECKING:
    from crewmem_store.generations import Generation
    from crewmem_store.store import Store, StoreReader

READ_SECONDS = 10.0
"""So long memories are read, over all partitions."""
REMEDY = "`crewmem replay` builds the memory again from the log; then `crewmem generations drop {}`"


async def memory(store: Store, generation: Generation) -> Finding:
    """Read the memories of the generation that answers, as many as that time allows, and say what is damaged."""
    try:
        read, whole, damaged = await asyncio.to_thread(_read, store.reader(generation.name), generation.partitions)
    except CrewmemError as error:
        return failed("memory", error)
    if damaged:
        said = "; ".join(f"partition {partition}: {what}" for partition, what in damaged.items())
        return Finding("memory", State.FAIL, said, REMEDY.format(generation.name))
    of = "" if whole else f", as many as {READ_SECONDS:g} s allow; `crewmem accounting --verify` reads all"
    return Finding("memory", State.OK, f"{counted(read, 'row')} read, each is what was written{of}")


def _read(reader: StoreReader, partitions: int) -> tuple[int, bool, dict[int, str]]:
    """How many rows were read, whether those are all, and what is damaged."""
    from crewmem_store.errors import StoreDamaged

    until, read, whole, damaged = time.monotonic() + READ_SECONDS, 0, True, dict(reader.damage(range(partitions)))
    for partition in sorted(set(range(partitions)) - damaged.keys()):
        changed = 0
        try:
            for rows, wrong in reader.check(partition):
                read, changed = read + rows, changed + len(wrong)
                if time.monotonic() > until:
                    whole = False
                    break
        except StoreDamaged as error:
            damaged[partition] = str(error)
        if changed:
            damaged[partition] = f"rows that are not what was written: {changed}"
    return read, whole, damaged
