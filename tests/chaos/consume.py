"""A consumer process: `consume.py SPEC`, with SPEC in JSON.

`without` names the guards that are taken out (the control, which must lose and double): `order`, `seek`, `merge`. `widen` is
for how many seconds each write stands still at its two borders, so that a kill or a pause falls between them. `knows` is the
newest body version that it reads.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from chaos import program
from chaos.program import border
from crewmem_consumers import steps
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_producers import codec
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import lance_partition, purge
from crewmem_store.connect import storage_options
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.lance import LanceStore
from processes.consume import CONTROLS, LedgerFirst

STRAY_SECONDS = 90.0
"""How long files of a write that was cut off are waited for, instead of 15 minutes: no process is stopped for longer."""
LOOK_SECONDS = 10.0
"""How often an owner looks for what another one wrote late, instead of once a minute."""
WIDE = (steps.DECIDED, steps.ROWS_MERGED, steps.LEDGER_WRITTEN)


async def main(spec: dict[str, Any]) -> None:
    settings = ConsumerSettings(**spec["settings"])
    purge.STRAY_SECONDS, lance_partition.LOOK_SECONDS = STRAY_SECONDS, LOOK_SECONDS
    codec.SCHEMA_VERSION = spec.get("knows", codec.SCHEMA_VERSION)
    ready, widen = Path(spec["ready"]), float(spec.get("widen", 0))

    def checkpoint(step: str) -> None:
        ready.touch()
        if widen and step in WIDE:
            border(ready, step).touch()
            time.sleep(widen)

    store: Any = LanceStore(settings.store_uri, storage_options=storage_options(settings), checkpoint=checkpoint)
    await asyncio.to_thread(store.open, namespace=settings.namespace)
    without = spec.get("without", [])
    for guard in without:
        if guard == "order":
            store = LedgerFirst(store)
        else:
            CONTROLS[guard]()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    program.up(Path(spec["ready"])).touch()
    try:
        await run(settings, stop=stop, checkpoint=checkpoint, store=store, embedder=HashingEmbedder(), health=Health())
    finally:
        store.close()


if __name__ == "__main__":
    program.run(main)
