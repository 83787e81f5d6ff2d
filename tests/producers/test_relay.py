import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewmem_producers import relay as relay_module
from crewmem_producers.errors import (
    CrewmemError,
    LogUnavailable,
    MissingExtra,
    ServiceBusy,
    ServiceUnavailable,
    SettingsError,
    TransportRefused,
)
from crewmem_producers.outbox import Outbox
from crewmem_producers.relay import IDLE_SECONDS, REFUSED_SECONDS, TAKEOVER_SECONDS, Relay, backoff
from crewmem_producers.relay_lock import RelayLock
from crewmem_producers.transport import Delivered, Refused
from crewmem_producers.transport_memory import MemoryTransport
from support.events import contents, remembered


@pytest.fixture
def memory() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "x.sqlite3", max_bytes=50_000_000)


@pytest.fixture
def new_relay(tmp_path: Path, outbox: Outbox, memory: MemoryTransport) -> Iterator[Callable[[], Relay]]:
    locks = []

    def make() -> Relay:
        locks.append(RelayLock(tmp_path / "x.relay"))
        return Relay(outbox=outbox, transport=memory, lock=locks[-1], tenant="default", clock=lambda: 0.0, chance=lambda: 0.5)

    yield make
    for lock in locks:
        lock.release()


async def test_what_waits_is_sent_in_order_and_taken_out(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay]
) -> None:
    seqs = outbox.append([remembered(str(number)) for number in range(3)])
    relay = new_relay()
    assert await relay.step() == 0
    assert await relay.step() == IDLE_SECONDS
    assert contents(memory.events) == ["0", "1", "2"]
    assert outbox.fates(seqs) == {seq: Delivered(f"1.0.{number}") for number, seq in enumerate(seqs)}


async def test_a_batch_has_at_most_five_hundred_events(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay]
) -> None:
    outbox.append([remembered(str(number)) for number in range(501)])
    relay = new_relay()
    await relay.step()
    assert len(memory.events) == 500
    await relay.step()
    assert contents(memory.events) == [str(number) for number in range(501)]


async def test_an_outage_is_one_warning_keeps_everything_and_is_tried_again_later_and_later(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay], caplog: pytest.LogCaptureFixture
) -> None:
    outbox.append([remembered("a")])
    memory.failure = ServiceUnavailable("the service is away")
    relay = new_relay()
    pauses = [await relay.step() for _ in range(8)]
    assert pauses == sorted(pauses) and pauses[0] < 0.2 and pauses[-1] > 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert outbox.status().depth == 1 and outbox.status().error == "the service is away"
    assert not outbox.status().caller_refused
    memory.failure = None
    assert await relay.step() == 0
    assert contents(memory.events) == ["a"] and outbox.status().error is None


async def test_a_service_that_asks_for_time_gets_it_up_to_a_minute(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay]
) -> None:
    outbox.append([remembered("a")])
    relay = new_relay()
    memory.failure = ServiceUnavailable("rate_limited", retry_after_seconds=17)
    assert await relay.step() == 17
    memory.failure = ServiceUnavailable("rate_limited", retry_after_seconds=86_400)
    assert await relay.step() == relay_module.LONGEST_RETRY_AFTER_SECONDS


@pytest.mark.parametrize("failures", [1, 2, 5, 50, 5000])
def test_pauses_are_spread_and_bounded(failures: int) -> None:
    assert 0.05 <= backoff(failures, 0.0) < backoff(failures, 0.999) <= relay_module.LAST_RETRY_SECONDS


@pytest.mark.parametrize("kind", [TransportRefused, SettingsError, MissingExtra])
async def test_a_refused_key_or_setting_is_one_error_and_keeps_everything(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay], caplog: pytest.LogCaptureFixture,
    kind: type[CrewmemError],
) -> None:  # fmt: skip
    outbox.append([remembered("a")])
    memory.failure = kind("401 invalid_api_key")
    relay = new_relay()
    assert [await relay.step() for _ in range(3)] == [REFUSED_SECONDS] * 3
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.ERROR, None)]
    status = outbox.status()
    assert status.depth == 1 and status.error == "401 invalid_api_key" and status.caller_refused
    memory.failure = None
    await relay.step()
    assert not outbox.status().caller_refused


async def test_an_event_refused_for_ever_is_an_error_and_blocks_nothing(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay], caplog: pytest.LogCaptureFixture
) -> None:
    events = [remembered(str(number)) for number in range(3)]
    seqs = outbox.append(events)
    memory.refuse.add(events[1].id)
    await new_relay().step()
    assert contents(memory.events) == ["0", "2"]
    assert outbox.fates(seqs)[seqs[1]] == Refused("refused by the test")
    assert [letter.id for letter in outbox.dead_letters()] == [events[1].id]
    assert events[1].id in caplog.text


async def test_a_row_that_cannot_be_read_becomes_a_dead_letter_and_blocks_nothing(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay]
) -> None:
    seqs = outbox.append([remembered("a"), remembered("b"), remembered("c")])
    outbox._file.run(lambda connection: connection.execute("UPDATE events SET body = x'00' WHERE seq = ?", (seqs[0],)))
    await new_relay().step()
    assert contents(memory.events) == ["b", "c"]
    assert outbox.status().dead_letters == 1


async def test_a_fault_of_a_transport_does_not_end_the_relay_and_is_shown_once(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    outbox.append([remembered("a")])
    relay = new_relay()
    with monkeypatch.context() as patched:
        patched.setattr(memory, "send", None)
        for _ in range(3):
            assert await relay.step() > 0
    [said] = caplog.records
    assert "a fault of the relay" in said.getMessage() and said.exc_info and outbox.status().depth == 1
    assert await relay.step() == 0
    assert contents(memory.events) == ["a"]


async def test_only_one_relay_of_an_outbox_sends_and_another_takes_over_when_it_ends(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay]
) -> None:
    first, second = new_relay(), new_relay()
    await first.step()
    outbox.append([remembered("a")])
    assert await second.step() == TAKEOVER_SECONDS
    assert memory.events == []
    first._lock.release()
    assert await second.step() == 0
    assert contents(memory.events) == ["a"]


async def test_the_transport_is_told_what_waits_behind_a_batch(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay]
) -> None:
    outbox.append([remembered(str(number)) for number in range(502)])
    await new_relay().step()
    (report,) = memory.reports
    assert report.depth == 2 and report.oldest_seconds >= 0 and report.version


async def test_what_was_delivered_is_wiped_from_the_disk_once_the_burst_is_over(
    tmp_path: Path, outbox: Outbox, memory: MemoryTransport
) -> None:
    now = [0.0]
    lock = RelayLock(tmp_path / "x.relay")
    relay = Relay(outbox=outbox, transport=memory, lock=lock, tenant="default", clock=lambda: now[0])
    event = remembered("a")
    outbox.append([event])

    def on_disk() -> bool:
        return any(event.id.encode() in file.read_bytes() for file in tmp_path.iterdir())

    await relay.step()
    await relay.step()
    assert on_disk()
    now[0] = 1.0
    await relay.step()
    assert not on_disk()
    lock.release()


async def test_a_report_that_fails_is_no_reason_not_to_send(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async def fails(_: object) -> None:
        raise LogUnavailable("no registry")

    monkeypatch.setattr(memory, "report", fails)
    outbox.append([remembered("a")])
    assert await new_relay().step() == 0
    assert contents(memory.events) == ["a"] and "no registry" in caplog.text


async def test_an_outbox_that_cannot_be_used_is_told_and_tried_again(
    tmp_path: Path, memory: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = tmp_path / "file" / "outbox"
    outbox, lock = Outbox(folder / "x.sqlite3", max_bytes=1), RelayLock(folder / "x.relay")
    relay = Relay(outbox=outbox, transport=memory, lock=lock, tenant="default")
    assert await relay.step() > 0 and await relay.step() > 0
    assert caplog.text.count("the relay stands still") == 1


async def test_a_service_that_asks_to_send_later_is_obeyed_and_no_outage(
    outbox: Outbox, memory: MemoryTransport, new_relay: Callable[[], Relay], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    relay = new_relay()
    for number in range(3):
        outbox.append([remembered(str(number))])
        memory.failure = ServiceBusy("busy", retry_after_seconds=9)
        assert await relay.step() == 9
        memory.failure = None
        assert await relay.step() == 0
    assert contents(memory.events) == ["0", "1", "2"]
    lines = [record for record in caplog.records if record.name == relay_module.log.name]
    assert [record.levelno for record in lines] == [logging.INFO] and "is sent as fast as it is taken" in lines[0].getMessage()
