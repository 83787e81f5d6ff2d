"""What `crewmem doctor` says of a generation that is behind: whether it moves, what stands still, and who owns it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from crewmem.cli import consumer_check
from crewmem.cli.checks import Finding
from crewmem_consumers import group
from crewmem_producers.events import utc_now
from crewmem_producers.settings import ServiceSettings
from crewmem_store.generations import Generation
from crewmem_store.service import progress
from crewmem_store.service.progress import PartitionProgress

GENERATION = Generation(name="g1", embedder="hashing", embedder_fingerprint="f", dimensions=384, partitions=3)
ON_KAFKA = ServiceSettings(kafka_bootstrap="127.0.0.1:1")


def at(partition: int, processed: int, *, end: int = 10, age: timedelta = timedelta(hours=1)) -> PartitionProgress:
    lag = end - processed
    return PartitionProgress(
        partition=partition, log_start=0, log_end=end, processed=processed, outcomes={}, lag=lag,
        oldest_unprocessed_seconds=age.total_seconds() if lag else 0.0,
    )  # fmt: skip


class Store:
    """As much of a store as is asked for a reader."""

    def reader(self, generation: str) -> None:
        assert generation == "g1"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[list[PartitionProgress]]:
    """What each look finds, in order."""
    found: list[list[PartitionProgress]] = []

    async def measure(log: object, reader: object, *, now: object) -> list[PartitionProgress]:
        assert now is not None and utc_now() >= now  # type: ignore[operator]
        return found.pop(0)

    monkeypatch.setattr(progress, "measure", measure)
    monkeypatch.setattr(consumer_check, "LOOK_SECONDS", 0.0)
    return found


def owning(monkeypatch: pytest.MonkeyPatch, partitions: Sequence[int]) -> None:
    async def owned(settings: object, generation: str) -> set[int]:
        assert generation == "g1"
        return set(partitions)

    monkeypatch.setattr(group, "owned", owned)


async def said(settings: ServiceSettings) -> Finding:
    return await consumer_check.consumer(settings, None, Store(), GENERATION)  # type: ignore[arg-type]


async def test_what_waits_for_a_moment_is_looked_at_once(looks: list[list[PartitionProgress]]) -> None:
    looks += [[at(0, 10), at(1, 7, age=timedelta(seconds=5))]]
    found = await said(ON_KAFKA)
    assert (found.state.value, found.said) == ("ok", "3 records to do, the oldest for 5 s")


async def test_what_is_behind_and_moves_only_needs_time(looks: list[list[PartitionProgress]]) -> None:
    looks += [[at(0, 4), at(1, 10)], [at(0, 6), at(1, 10)]]
    found = await said(ON_KAFKA)
    assert found.state.value == "warn" and "it moves" in str(found.remedy)


async def test_a_partition_that_no_consumer_owns_is_named(
    looks: list[list[PartitionProgress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owning(monkeypatch, [0, 1])
    looks += [[at(0, 4), at(1, 4), at(2, 4)]] * 2
    looks[1] = [at(0, 6), at(1, 4), at(2, 4)]
    found = await said(ON_KAFKA)
    assert found.state.value == "fail" and "partitions 1, 2 did not move" in found.said
    assert "no consumer owns 2: " in str(found.remedy)


async def test_a_partition_that_stands_still_though_a_consumer_owns_it_is_looked_for_there(
    looks: list[list[PartitionProgress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owning(monkeypatch, [0, 1, 2])
    looks += [[at(0, 4)], [at(0, 4)]]
    found = await said(ON_KAFKA)
    assert found.state.value == "fail" and "partition 0 did not move" in found.said
    assert "a consumer owns each of them" in str(found.remedy) and "/health/ready" in str(found.remedy)


async def test_on_one_machine_a_consumer_is_to_be_started(looks: list[list[PartitionProgress]]) -> None:
    looks += [[at(0, 4)], [at(0, 4)]]
    found = await said(ServiceSettings())
    assert found.state.value == "fail" and "no consumer works on it: start one" in str(found.remedy)
