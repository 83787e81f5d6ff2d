import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers import master_key
from crewmem_producers.errors import (
    EventRefused,
    InvalidEvent,
    LogUnavailable,
    OutboxFull,
    ServiceUnavailable,
    SettingsError,
    TokenTimeout,
    TransportRefused,
)
from crewmem_producers.events import Event, KickoffCompleted, SessionForgotten
from crewmem_producers.freshness import parse_token
from crewmem_producers.names import Scope
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, load
from crewmem_producers.transport_memory import MemoryTransport
from support.events import contents, kickoff, remembered

PATIENCE = 30.0
PUBLIC = master_key.MasterKeys.parse(master_key.generate()).current.text


@pytest.fixture
def memory() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def new_publisher(tmp_path: Path, memory: MemoryTransport) -> Iterator[Callable[..., Publisher]]:
    made: list[Publisher] = []

    def make(**arguments: object) -> Publisher:
        settings = load(CrewSettings, home=tmp_path / "home", source="host-1", **arguments)
        made.append(Publisher(settings, transport=lambda: memory))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


def test_making_one_opens_nothing(new_publisher: Callable[..., Publisher], tmp_path: Path) -> None:
    new_publisher()
    assert not (tmp_path / "home").exists()


def test_a_published_event_arrives_and_its_receipt_has_the_token(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport
) -> None:
    publisher = new_publisher()
    first, second = remembered("a"), remembered("b")
    receipt = publisher.publish(first, second)
    assert receipt.ids == (first.id, second.id)
    assert receipt.token(PATIENCE) == "1.0.1"
    assert contents(memory.events) == ["a", "b"]


def test_flush_waits_until_everything_is_sent(new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
    publisher = new_publisher()
    for number in range(20):
        publisher.publish(remembered(str(number)))
    assert publisher.flush(PATIENCE) is True
    assert contents(memory.events) == [str(number) for number in range(20)]
    assert publisher.status().depth == 0


def test_the_host_is_named_as_source_where_none_is(new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
    publisher = new_publisher()
    publisher.publish(Event(body=KickoffCompleted(raw="x"), scope=Scope.of("default", "s")), remembered("y"))
    publisher.flush(PATIENCE)
    assert [event.source for event in memory.events] == ["host-1", "test"]


def test_an_outage_fails_nothing_and_costs_one_wait(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.failure = ServiceUnavailable("away")
    publisher = new_publisher()
    waits: list[float] = []
    monkeypatch.setattr("crewmem_producers.waiting.time.sleep", lambda seconds: waits.append(seconds))
    receipt = publisher.publish(remembered("a"))
    assert publisher.flush(0.2) is False and waits
    waits.clear()
    publisher.publish(remembered("b"))
    assert publisher.flush(PATIENCE) is False and not waits
    memory.failure = None
    receipt.token(PATIENCE)
    publisher.publish(remembered("c"))
    monkeypatch.undo()
    assert publisher.flush(PATIENCE) is True
    assert contents(memory.events) == ["a", "b", "c"]


async def test_the_wait_for_an_outage_is_the_same_for_asyncio(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport
) -> None:
    memory.failure = ServiceUnavailable("away")
    publisher = new_publisher()
    receipt = await publisher.apublish(remembered("a"))
    assert await publisher.aflush(0.1) is False
    assert await publisher.aflush(3600) is False
    memory.failure = None
    assert parse_token(await receipt.atoken(PATIENCE))
    assert await publisher.aflush(PATIENCE) is True


def test_a_token_that_does_not_come_in_time_is_a_time_out(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport
) -> None:
    memory.failure = ServiceUnavailable("away")
    with pytest.raises(TokenTimeout, match="crewmem outbox status"):
        new_publisher().publish(remembered("a")).token(0)


def test_the_token_of_an_event_refused_for_ever_raises(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport
) -> None:
    event = remembered("a")
    memory.refuse.add(event.id)
    publisher = new_publisher()
    receipt = publisher.publish(event)
    assert publisher.flush(PATIENCE) is True
    with pytest.raises(EventRefused, match="refused by the test"):
        receipt.token(0)
    assert publisher.status().dead_letters == 1


async def test_it_works_inside_a_running_loop_and_blocks_none(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport
) -> None:
    publisher = new_publisher()
    assert publisher.publish(remembered("sync")).token(PATIENCE)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.01)

    memory.failure = ServiceUnavailable("away")
    beating = asyncio.create_task(beat())
    receipt = await publisher.apublish(remembered("async"))
    with pytest.raises(TokenTimeout):
        await receipt.atoken(0.5)
    beating.cancel()
    assert beats > 5
    memory.failure = None
    assert await receipt.atoken(PATIENCE)


def test_two_event_loops_can_share_one(new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
    publisher = new_publisher()

    async def publish(content: str) -> str:
        return await (await publisher.apublish(remembered(content))).atoken(PATIENCE)

    tokens = [asyncio.run(publish(content)) for content in ("a", "b")]
    assert tokens == ["1.0.0", "1.0.1"]


def test_it_can_be_used_again_after_it_was_closed(new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
    publisher = new_publisher()
    publisher.publish(remembered("a")).token(PATIENCE)
    publisher.close()
    publisher.close()
    publisher.publish(remembered("b")).token(PATIENCE)
    assert contents(memory.events) == ["a", "b"]


def test_a_full_outbox_is_an_error_and_is_counted(new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
    memory.failure = ServiceUnavailable("away")
    publisher = new_publisher(outbox_max_mb=1)
    with pytest.raises(OutboxFull):
        for _ in range(100):
            publisher.publish(kickoff(os.urandom(50_000).hex()))
    assert publisher.status().times_full == 1 and publisher.status().depth > 5


def test_a_large_kickoff_is_published_in_pieces(new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
    publisher = new_publisher()
    event = kickoff("a" * 500_000, "b" * 500_000)
    receipt = publisher.publish(event)
    assert len(receipt.ids) == 2 and receipt.ids[-1] == event.id
    assert receipt.token(PATIENCE) == "1.0.1"
    assert [len(e.body.tasks) for e in memory.events if isinstance(e.body, KickoffCompleted)] == [1, 1]


@pytest.mark.parametrize(
    "event",
    [
        Event(body=SessionForgotten(), scope=Scope.of("default", "s")),
        Event(body=KickoffCompleted(), scope=None),
        remembered("x", tenant="another"),
    ],
)
def test_what_is_not_to_be_published_from_here_is_refused_at_once(
    new_publisher: Callable[..., Publisher], event: Event, memory: MemoryTransport
) -> None:
    publisher = new_publisher()
    with pytest.raises(InvalidEvent):
        publisher.publish(remembered("with it"), event)
    assert memory.events == []


def test_words_that_json_cannot_hold_do_not_lose_a_kickoff(
    new_publisher: Callable[..., Publisher], memory: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = new_publisher()
    publisher.publish(
        kickoff("half \ud83d and whole \ud83d\ude00", json={"when": object(), "\udc00": b"\xff", "n": float("nan")})
    )
    assert publisher.flush(PATIENCE)
    (event,) = memory.events
    assert isinstance(event.body, KickoffCompleted)
    assert event.body.tasks[0].raw == "half \ufffd and whole \U0001f600"
    assert "cannot hold" in caplog.text


def test_a_structure_that_holds_itself_is_no_event(new_publisher: Callable[..., Publisher]) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidEvent):
        new_publisher().publish(kickoff("x", json={"loop": loop}))


class TestDurabilityLog:
    def test_a_publish_is_on_the_log_when_it_returns(
        self, new_publisher: Callable[..., Publisher], memory: MemoryTransport, tmp_path: Path
    ) -> None:
        publisher = new_publisher(durability="log")
        receipt = publisher.publish(remembered("a"))
        assert contents(memory.events) == ["a"]
        assert receipt.token(0) == "1.0.0"
        assert publisher.flush(0) is True and publisher.status().depth == 0 and publisher.status().path is None
        assert not (tmp_path / "home").exists()

    def test_no_acknowledgement_in_time_raises_and_nothing_is_kept(
        self, new_publisher: Callable[..., Publisher], memory: MemoryTransport
    ) -> None:
        memory.failure = ServiceUnavailable("the service is away")
        publisher = new_publisher(durability="log", flush_seconds=0.3)
        with pytest.raises(LogUnavailable, match="the service is away") as caught:
            publisher.publish(remembered("a"))
        assert isinstance(caught.value.__cause__, ServiceUnavailable)
        memory.failure = None
        publisher.publish(remembered("b"))
        assert contents(memory.events) == ["b"]

    def test_a_short_outage_is_waited_for(self, new_publisher: Callable[..., Publisher], memory: MemoryTransport) -> None:
        publisher = new_publisher(durability="log", flush_seconds=PATIENCE)
        send, failures = memory.send, iter([ServiceUnavailable("away"), ServiceUnavailable("away")])

        async def sometimes(events: list[Event]) -> object:
            if failure := next(failures, None):
                raise failure
            return await send(events)

        memory.send = sometimes  # type: ignore[assignment, method-assign]
        publisher.publish(remembered("a"))
        assert contents(memory.events) == ["a"]

    def test_a_refused_key_and_a_refused_event_raise(
        self, new_publisher: Callable[..., Publisher], memory: MemoryTransport
    ) -> None:
        publisher = new_publisher(durability="log")
        event = remembered("a")
        memory.refuse.add(event.id)
        with pytest.raises(EventRefused):
            publisher.publish(event)
        memory.failure = TransportRefused("401")
        with pytest.raises(TransportRefused):
            publisher.publish(remembered("b"))


def test_an_outbox_that_would_not_last_is_one_warning(
    new_publisher: Callable[..., Publisher], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("crewmem_producers.filesystem.filesystem_of", lambda path, mounts: "tmpfs")
    publisher = new_publisher()
    publisher.publish(remembered("a"))
    publisher.publish(remembered("b"))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "CREWMEM_DURABILITY=log" in warnings[0] and "volume" in warnings[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kafka_bootstrap": "broker:port"}, "CREWMEM_KAFKA_BOOTSTRAP"),
        ({"kafka_bootstrap": "b:1", "kafka_security_protocol": "SASL_SSL"}, "CREWMEM_KAFKA_SASL_USERNAME"),
        ({"kafka_bootstrap": "b:1", "kafka_security_protocol": "SSL", "kafka_ca_file": "/no/such"}, "CREWMEM_KAFKA_CA_FILE"),
        (
            {"kafka_bootstrap": "b:1", "master_key": master_key.generate(), "master_public_key": PUBLIC},
            "CREWMEM_MASTER_PUBLIC_KEY",
        ),
    ],
)
def test_a_setting_that_would_stop_every_try_to_send_is_said_at_once(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:  # fmt: skip
    with pytest.raises(SettingsError, match=said):
        Publisher(load(CrewSettings, home=tmp_path, **wrong))
    assert not list(tmp_path.iterdir())


def test_kafka_without_its_extra_is_said_at_once() -> None:
    code = """
import sys
sys.modules["aiokafka"] = sys.modules["aiokafka.conn"] = None
from crewmem_producers.errors import MissingExtra
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings
try:
    Publisher(CrewSettings(kafka_bootstrap="b:1"))
except MissingExtra as error:
    print(error)
"""
    assert 'pip install "crewmem[kafka]"' in subprocess.check_output([sys.executable, "-c", code], text=True)


def test_importing_it_brings_no_kafka_client() -> None:
    code = (
        "import sys, crewmem_producers.publisher; print([m for m in ('aiokafka', 'faststream', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
