"""A consumer process, on the SQLite log, over records that would stop it: they are dead letters, and other tenants go on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crewmem_consumers.worker_pool import TOO_COSTLY, WorkerPool
from crewmem_consumers.worker_process import Budget
from crewmem_producers.codec import encode
from support import costly
from support.awaiting import until
from support.logged import remembered
from support.machine import Machine, machine_in


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine_in(tmp_path, Machine, batch_wait_ms=0) as made:
        yield made


async def test_another_tenants_records_are_remembered_after_one_that_is_too_costly(machine: Machine) -> None:
    hostile = [costly.NEVER_ENDS, costly.EATS_MEMORY, costly.CRASHES]
    records = [remembered(number, tenant="hostile", content=content) for number, content in enumerate(hostile)]
    others = [remembered(number, tenant="other") for number in range(3)]
    mixed = [event for pair in zip(records, others, strict=True) for event in pair]
    pool = WorkerPool(Budget(seconds=1, megabytes=200), place=costly.PLACE)
    machine.preparer = pool
    try:
        async with machine.consuming():
            await machine.log.append([encode(event) for event in mixed])
            await machine.processed(len(mixed) - 1)
    finally:
        pool.close()
    reader = machine.store.reader("g1")
    ledger = list(reader.ledger(0, start=0, limit=100))
    assert [row.offset for row in ledger] == list(range(6))
    assert [row.reason for row in ledger] == [TOO_COSTLY, None] * 3
    assert len(reader.rows(["other/s"], partitions=[0]).rows) == 3
    assert reader.outcomes(0) == {"stored": 3, "dead_letter": 3}


async def test_a_worker_process_that_cannot_be_started_is_said_in_health_and_nothing_is_skipped(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/no/such/python")
        async with machine.consuming():
            await machine.log.append([encode(remembered(1))])
            await until(lambda: "cannot be started" in str(machine.health.report()), what="health says it")
            assert not machine.health.ready
            patched.undo()
            await machine.processed(0)
    assert machine.store.reader("g1").outcomes(0) == {"stored": 1}
