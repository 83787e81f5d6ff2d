import asyncio
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.kafka_noise import QuietRetries, quiet_relay
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


def test_that_a_topic_is_gone_is_said_once(shown: io.StringIO) -> None:
    for topic in ("a", "a", "b", "a"):
        logging.getLogger("aiokafka.cluster").error("Topic %s not found in cluster metadata", topic)
    said = [f"ERROR Topic {topic} not found in cluster metadata" for topic in "ab"]
    assert shown.getvalue().splitlines() == said


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


def test_a_crew_sees_nothing_of_the_relays_tries_and_everything_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    quiet_relay()
    quiet_relay()

    def lose() -> None:
        logging.getLogger("aiokafka.producer.sender").error(
            "Unable to request metadata from %s", threading.current_thread().name
        )
        logging.getLogger("aiokafka.conn").warning("something else in %s", threading.current_thread().name)

    for name in ("crewmem-relay", "mine"):
        thread = threading.Thread(target=lose, name=name)
        thread.start()
        thread.join()
    assert [one.getMessage() for one in caplog.records] == [
        "something else in crewmem-relay", "Unable to request metadata from mine", "something else in mine",
    ]  # fmt: skip


def test_a_crew_whose_broker_is_away_says_so_once_and_without_aiokafka(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from crewmem_producers.publisher import Publisher\n"
        "from crewmem_producers.settings import CrewSettings\n"
        "from support.logged import remembered\n"
        "publisher = Publisher(CrewSettings(home=sys.argv[1], kafka_bootstrap=sys.argv[2]))\n"
        "publisher.publish(remembered(1))\n"
        "publisher.flush(4.0)\n"
        "publisher.close()\n"
    )
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), f"127.0.0.1:{free_port()}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Unable" not in done.stderr and "aiokafka" not in done.stderr, done.stderr
    assert "no broker answers" in done.stderr


def test_a_command_that_finds_no_broker_says_once_that_it_waits_and_then_why_it_ends(tmp_path: Path) -> None:
    settings = {
        "CREWMEM_HOME": str(tmp_path), "CREWMEM_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}", "CREWMEM_KAFKA_WAIT_SECONDS": "2",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "crewmem.cli", "topics", "create"], env=os.environ | settings, capture_output=True, text=True
    )
    waits, line = done.stderr.splitlines()
    assert waits.startswith("waiting up to 2 s: no broker answers")
    assert done.returncode == 3 and line.startswith("crewmem: no broker answers")
