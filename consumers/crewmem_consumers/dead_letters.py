"""Dead letters to their log: a bridge from the pipeline's threads to the event loop that the log lives on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout

from crewmem_producers.errors import LogUnavailable
from crewmem_producers.log import EventLog, Record

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
