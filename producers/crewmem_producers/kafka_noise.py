"""What aiokafka logs of a broker that is away: several lines at every try, for as long as the outage lasts."""

from __future__ import annotations

import logging

_AT_EVERY_TRY = (
    "Unable connect to", "Unable to request metadata from", "Unable to update metadata from", "Error sending %s to node",
    "Group Coordinator Request failed", "Heartbeat send request failed", "Heartbeat session expired",
    "Failed fetch messages from", "Failed fetch offsets from", "Cannot send", "Could not send",
    "OffsetCommit failed before join",
)  # fmt: skip


class QuietRetries(logging.Filter):
    """For a handler: aiokafka's lines about a broker that does not answer are of level DEBUG.

    Consumer, service and relay say themselves, once, that the log is away and that it is back. aiokafka's own lines are
    shown where its logger is at DEBUG; everything else that it says stays as it is.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != "aiokafka" or not str(record.msg).startswith(_AT_EVERY_TRY):
            return True
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
