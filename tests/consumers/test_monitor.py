"""The monitor knows how far behind each partition is, and when the log is not the one that it was."""

from __future__ import annotations

import logging

import pytest
from consumers.fakes import record
from crewmem_consumers.away import PARTS
from crewmem_consumers.health import Health, PartitionStatus
from crewmem_consumers.monitor import SHORT_LOOKS, Monitor
from crewmem_producers.errors import LogUnavailable, RegistryUnavailable, StoreUnavailable
from crewmem_producers.log import LoggedRecord
from crewmem_store.errors import LogMismatch
from crewmem_store.stalls import STALLED_SECONDS, Stalls


class Ends:
    """As much of a log as the monitor looks at."""

    def __init__(self, end: int) -> None:
        self.at = end
        self.away = False

    async def end(self) -> dict[int, int]:
        if self.away:
            raise LogUnavailable("no broker")
        return {0: self.at}

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        return [record(offset)] if offset < self.at else []


class Following:
    """As much of a registry as the monitor looks at."""

    def __init__(self) -> None:
        self.away = False

    async def refresh(self) -> None:
        if self.away:
            raise RegistryUnavailable("no broker")


refused: list[tuple[str, LogMismatch]] = []


@pytest.fixture(autouse=True)
def nothing_refused() -> None:
    refused.clear()


def watched(end: int, *, position: int | None) -> tuple[Monitor, Health, Ends, PartitionStatus]:
    log, health = Ends(end), Health(starting=None)
    status = health.adopt("g1", 0)
    status.position = position
    monitor = Monitor(
        log=log,
        registry=Following(),
        health=health,
        on_mismatch=lambda name, error: refused.append((name, error)),  # type: ignore[arg-type]
    )
    return monitor, health, log, status


async def test_lag_is_what_the_log_has_and_the_store_has_not() -> None:
    monitor, _, _, status = watched(10, position=4)
    await monitor.look()
    assert status.lag == 6


async def test_the_age_of_what_waits_is_known_before_anything_was_read() -> None:
    monitor, health, _, status = watched(10, position=4)
    await monitor.look()
    assert status.head_timestamp_ms == record(4).timestamp_ms
    assert status.oldest_seconds(health.clock()) > 0


async def test_nothing_waits_when_the_store_has_all() -> None:
    monitor, health, _, status = watched(10, position=10)
    await monitor.look()
    assert (status.lag, status.oldest_seconds(health.clock())) == (0, 0.0)


async def test_a_log_that_is_away_is_said_in_health_until_it_is_back() -> None:
    monitor, health, log, _ = watched(10, position=10)
    log.away = True
    await monitor.look()
    assert "LogUnavailable" in health.report()["waits_for"]
    assert not health.ready
    log.away = False
    await monitor.look()
    assert health.ready


async def test_a_registry_that_is_away_is_said_in_health_and_metrics_until_it_is_back() -> None:
    health, registry = Health(starting=None), Following()
    monitor = Monitor(log=Ends(0), registry=registry, health=health, on_mismatch=lambda name, error: None)  # type: ignore[arg-type]
    registry.away = True
    await monitor.look()
    assert "RegistryUnavailable" in health.report()["waits_for"] and not health.ready
    assert waiting(health) == {"registry": 1.0}
    registry.away = False
    await monitor.look()
    assert (health.ready, waiting(health)) == (True, {})


def waiting(health: Health) -> dict[str, float]:
    """Which parts the metric says are waited for."""
    health.measure()
    found = {part: health.metrics.registry.get_sample_value("crewmem_waiting", {"part": part}) for part in PARTS}
    assert None not in found.values(), "every part is there, so that an alert can be made before the first outage"
    return {part: value for part, value in found.items() if value}


def test_metrics_say_what_each_partition_waits_for() -> None:
    health = Health(starting=None)
    first, second, third = (health.adopt("g1", number) for number in range(3))
    first.waits_for("work", StoreUnavailable("no bucket"))
    second.waits_for("work", StoreUnavailable("no bucket"))
    second.waits_for("log", LogUnavailable("no broker"))
    third.waits_for("work", RuntimeError("a fault"))
    third.llm_waits_for, third.llm_backlog = "LlmUnavailable: no model", 7
    assert waiting(health) == {"store": 2.0, "log": 1.0, "other": 1.0, "llm": 1.0}
    assert health.metrics.registry.get_sample_value("crewmem_llm_backlog") == 7
    first.waits_for("work", None)
    assert waiting(health)["store"] == 1.0


async def test_a_log_that_is_away_for_long_is_one_warning_and_its_return_one_line(caplog: pytest.LogCaptureFixture) -> None:
    monitor, _, log, _ = watched(10, position=10)
    with caplog.at_level(logging.INFO, logger="crewmem.consumer"):
        for away in (True, True, True, False, False):
            log.away = away
            await monitor.look()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_log_that_stays_too_short_is_refused_with_the_remedy() -> None:
    monitor, _, _, _ = watched(3, position=10)
    for _ in range(3 * SHORT_LOOKS):
        await monitor.look()
    ((generation, error),) = refused
    assert generation == "g1"
    assert "crewmem replay" in str(error)


async def test_a_log_that_is_short_for_a_moment_is_not_refused() -> None:
    monitor, _, log, status = watched(3, position=10)
    for _ in range(3 * SHORT_LOOKS):
        log.at = 3
        for _ in range(SHORT_LOOKS - 1):
            await monitor.look()
        log.at = 10
        await monitor.look()
    assert refused == []
    assert status.in_doubt, "it may have been refilled meanwhile"


async def test_a_log_that_was_away_may_be_another_one() -> None:
    monitor, _, log, status = watched(10, position=10)
    await monitor.look()
    assert not status.in_doubt
    log.away = True
    await monitor.look()
    assert status.in_doubt


def stalling(*, position: int | None) -> tuple[Monitor, Health, Ends, PartitionStatus, list[float]]:
    """The last is the time: a test moves it."""
    now = [0.0]
    monitor, health, log, status = watched(10, position=position)
    monitor._stalls = Stalls(clock=lambda: now[0])
    return monitor, health, log, status, now


def stalled(health: Health) -> float | None:
    health.measure()
    return health.metrics.registry.get_sample_value("crewmem_stalled_partitions")


@pytest.mark.parametrize("position", [4, None])
async def test_a_partition_that_stands_still_is_said_in_health_and_metrics_and_once_in_the_log(
    caplog: pytest.LogCaptureFixture, position: int | None
) -> None:
    monitor, health, _, status, now = stalling(position=position)
    await monitor.look()
    assert (health.ready, stalled(health)) == (True, 0)
    now[0] = STALLED_SECONDS
    for _ in range(3):
        await monitor.look()
    assert (health.ready, stalled(health)) == (False, 1)
    assert health.report()["generations"]["g1"]["0"]["stalled_seconds"] == STALLED_SECONDS
    assert [one.levelname for one in caplog.records] == ["ERROR"] and "g1 partition 0 stands still" in caplog.text
    status.position = 9
    await monitor.look()
    assert (health.ready, stalled(health)) == (True, 0)


async def test_a_partition_that_waits_for_what_is_away_is_not_said_to_stand_still_too() -> None:
    monitor, health, log, status, now = stalling(position=4)
    await monitor.look()
    now[0] = STALLED_SECONDS
    status.waits_for("work", StoreUnavailable("the bucket does not answer"))
    await monitor.look()
    assert stalled(health) == 0
    status.waits_for("work", None)
    await monitor.look()
    assert stalled(health) == 0, "its time begins when it could go on"
    log.away = True
    now[0] += STALLED_SECONDS
    await monitor.look()
    log.away = False
    await monitor.look()
    assert stalled(health) == 0, "so it does when the log is back"
