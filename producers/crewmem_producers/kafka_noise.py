"""What aiokafka logs of a broker that is away: several lines at every try, for as long as the outage lasts."""

from __future__ import annotations

import logging

_AT_EVERY_TRY = (
    "Unable connect to", "Unable to request metadata from", "Unable to update metadata from", "Error sending %s to node",
    "Group Coordinator Request failed", "Heartbeat send request failed", "Heartbeat session expired",
    "Failed fetch messages from", "Failed fetch offsets from", "Cannot send", "Could not send",
    "Got error produce response on topic-partition",
    "OffsetCommit failed before join",
)  # fmt: skip


_NO_TOPIC = "Topic %s not found in cluster metadata"
"""Ten times a second while a topic that was there is gone; ours say only that the log does not answer."""


class QuietRetries(logging.Filter):
    """For a handler: aiokafka's lines about a broker that does not answer are of level DEBUG, and that a topic is gone is
    said once.

    Consumer, service and relay say themselves, once, that the log is away and that it is back. aiokafka's own lines are
    shown where its logger is at DEBUG; everything else that it says stays as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gone: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != "aiokafka" or not str(record.msg).startswith((*_AT_EVERY_TRY, _NO_TOPIC)):
            return True
        if record.msg == _NO_TOPIC and (said := record.getMessage()) not in self._gone:
            self._gone.add(said)
            return True
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


OUR_THREADS = "crewmem-"
"""How the names of the threads begin that crewmem starts in a crew's process."""
_LOGGERS = (
    "aiokafka", "aiokafka.cluster", "aiokafka.conn", "aiokafka.consumer.fetcher", "aiokafka.producer.producer",
    "aiokafka.producer.sender",
)  # fmt: skip


class _QuietThreads(QuietRetries):
    """The same for records of crewmem's own threads alone: what a crew does with Kafka itself is not ours to hide."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.threadName or "").startswith(OUR_THREADS) or super().filter(record)


_QUIET_THREADS = _QuietThreads()


def quiet_relay() -> None:
    """For a process whose handlers are not ours, such as a crew's. Safe to call twice: a logger keeps a filter once."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_QUIET_THREADS)


_QUIET = QuietRetries()


def quiet_command() -> None:
    """For a program that sets up no logging: what nobody else handles is shown by Python's last resort. Safe to call twice."""
    if logging.lastResort is not None:
        logging.lastResort.addFilter(_QUIET)
