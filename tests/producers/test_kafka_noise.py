import asyncio
import io
import logging
from collections.abc import Iterator

import pytest
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.kafka_noise import QuietRetries
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.settings import KafkaSettings
from support.kafka import free_port

LOST = 'Unable connect to "%s:%s": %s'


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    """What a handler with the filter shows of everything that is logged."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(QuietRetries())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_a_try_that_failed_is_not_shown_and_everything_else_is(shown: io.StringIO) -> None:
    logging.getLogger("aiokafka").error(LOST, "broker", 9092, "refused")
    logging.getLogger("aiokafka.consumer.fetcher").error("Failed fetch messages from %s: %s", 1, "away")
    logging.getLogger("aiokafka.consumer.fetcher").warning("Not authorized to read from topic %s.", "t")
    logging.getLogger("mine").error(LOST, "broker", 9092, "refused")
    assert shown.getvalue().splitlines() == [
        "WARNING Not authorized to read from topic t.",
        'ERROR Unable connect to "broker:9092": refused',
    ]


def test_where_aiokafka_is_at_debug_it_is_shown_as_that(shown: io.StringIO) -> None:
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        logger.error(LOST, "broker", 9092, "refused")
    finally:
        logger.setLevel(before)
    assert shown.getvalue() == 'DEBUG Unable connect to "broker:9092": refused\n'


async def test_a_broker_that_is_not_there_shows_nothing_of_aiokafka(
    shown: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    log = KafkaLog(KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}"), topic="t", timeout_seconds=3)
    async with asyncio.timeout(60):
        with pytest.raises(LogUnavailable):
            await log.start()
    assert "Unable" in caplog.text, "it was logged"
    assert "Unable" not in shown.getvalue()
