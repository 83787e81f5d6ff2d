"""What a command does while a broker does not answer: it waits, says so once, and ends in time."""

from __future__ import annotations

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NotControllerError,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)
from crewmem_producers import broker_wait
from crewmem_producers.broker_wait import NO_WAIT, REMEDY, BrokerWait, may_pass
from crewmem_producers.errors import KeyMissing, LogRefused, LogUnavailable, RegistryUnavailable
from crewmem_producers.kafka import answering

SECONDS = 60.0


class Broker:
    """Raises these, one a call; then it answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answered"


async def failed(error: Exception) -> LogUnavailable:
    """What crewmem makes of an error of aiokafka."""
    with pytest.raises(LogUnavailable) as caught:
        async with answering("answer", seconds=SECONDS):
            raise error
    return caught.value


async def test_what_fails_for_a_moment_is_tried_again_and_said_once() -> None:
    said: list[str] = []
    broker = Broker(LogUnavailable("no broker"), RegistryUnavailable("no broker"), LogUnavailable("no leader"))
    assert await BrokerWait(seconds=SECONDS, say=said.append).until_answered(broker) == "answered"
    assert (broker.calls, said) == (4, ["waiting up to 60 s: no broker"])


async def test_what_fails_soon_after_is_the_same_outage() -> None:
    said: list[str] = []
    wait = BrokerWait(seconds=SECONDS, say=said.append)
    for what in ("first", "second"):
        await wait.until_answered(Broker(LogUnavailable(what)))
    assert said == ["waiting up to 60 s: first"]


async def test_another_outage_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_wait, "SAME_OUTAGE_SECONDS", -1.0)
    said: list[str] = []
    wait = BrokerWait(seconds=SECONDS, say=said.append)
    for what in ("first", "second"):
        await wait.until_answered(Broker(LogUnavailable(what)))
    assert said == ["waiting up to 60 s: first", "waiting up to 60 s: second"]


async def test_when_the_time_is_over_the_error_says_how_long_it_waited_and_what_to_do() -> None:
    wait = BrokerWait(seconds=0.2, say=lambda text: None)
    with pytest.raises(RegistryUnavailable, match=r"gone; waited 0\.2 s") as caught:
        await wait.until_answered(Broker(*(RegistryUnavailable("gone") for _ in range(1000))))
    assert REMEDY in str(caught.value)


async def test_without_a_wait_the_first_error_is_raised_as_it_is() -> None:
    error = LogUnavailable("no broker")
    with pytest.raises(LogUnavailable) as caught:
        await NO_WAIT.until_answered(Broker(error))
    assert caught.value is error and error.__cause__ is None


async def test_a_wait_around_another_one_is_over_in_time_too() -> None:
    wait = BrokerWait(seconds=0.2, say=lambda text: None)
    with pytest.raises(LogUnavailable, match="waited"):
        await wait.until_answered(NO_WAIT.until_answered, Broker(*(LogUnavailable("gone") for _ in range(1000))))


@pytest.mark.parametrize("error", [KeyMissing("a key"), LogRefused("no right"), ValueError("ours")])
async def test_what_is_no_outage_of_the_brokers_is_raised_at_once(error: Exception) -> None:
    broker = Broker(error)
    with pytest.raises(type(error)):
        await BrokerWait(seconds=SECONDS, say=lambda text: None).until_answered(broker)
    assert broker.calls == 1


@pytest.mark.parametrize(
    "error",
    [NodeNotReadyError(), KafkaConnectionError(), NotControllerError(), LeaderNotAvailableError(), KafkaTimeoutError(),
     OutOfOrderSequenceNumber(), TimeoutError(), OSError("reset")],
)  # fmt: skip
async def test_a_broker_that_starts_or_moves_a_leader_is_waited_for(error: Exception) -> None:
    broker = Broker(await failed(error))
    assert await BrokerWait(seconds=SECONDS, say=lambda text: None).until_answered(broker) == "answered"


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError(), UnsupportedVersionError()])
async def test_what_no_waiting_changes_is_not_waited_for(error: Exception) -> None:
    broker = Broker(await failed(error))
    with pytest.raises(LogUnavailable):
        await BrokerWait(seconds=SECONDS, say=lambda text: None).until_answered(broker)
    assert broker.calls == 1
    assert not may_pass(await failed(error))
