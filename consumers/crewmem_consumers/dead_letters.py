"""Dead letters to their log: a bridge from the pipeline's threads to the event loop that the log lives on."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout

from crewmem_producers.errors import LogUnavailable
from crewmem_producers.log import EventLog, Record

from crewmem_consumers.letters import PREFIX

logger = logging.getLogger("crewmem.consumer")

SEND_TIMEOUT_SECONDS = 60.0


class LogDeadLetters:
    """Appends to the dead letter log and waits for its acknowledgement. A letter may be there twice: its position tells."""

    def __init__(
        self, log: EventLog, *, loop: asyncio.AbstractEventLoop, timeout_seconds: float = SEND_TIMEOUT_SECONDS
    ) -> None:  # fmt: skip
        """`loop` is the one that `log` was started on."""
        self._log = log
        self._loop = loop
        self._timeout_seconds = timeout_seconds

    def send(self, letters: Sequence[Record]) -> None:
        """Returns when all are acknowledged; never called on the loop itself. Raises LogUnavailable."""
        future = asyncio.run_coroutine_threadsafe(self._log.append(letters), self._loop)
        try:
            future.result(self._timeout_seconds)
        except FutureTimeout as error:
            future.cancel()
            raise LogUnavailable(
                f"the dead letter log did not acknowledge within {self._timeout_seconds:g} s; it is tried again"
            ) from error
        _say(letters)


def _say(letters: Sequence[Record]) -> None:
    """One line for all of them: nothing is skipped silently. What is wrong in each is for `crewmem dlq` to show."""
    said = [{name: value.decode("utf-8", "replace") for name, value in letter.headers} for letter in letters]
    reasons = Counter(headers.get(PREFIX + "reason", "unknown") for headers in said)
    logger.warning(
        "%d records from %s/%s on are dead letters (%s): `crewmem dlq list` shows them",
        len(letters), said[0].get(PREFIX + "partition"), said[0].get(PREFIX + "offset"),
        ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())),
    )  # fmt: skip
