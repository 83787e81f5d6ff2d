"""Saying what is away: once when it goes, once when it is back, and not at every try in between."""

from __future__ import annotations

import logging

from crewmem_producers.errors import Unavailable


class Outage:
    """What stands in the way of one thing. `what` begins the log lines, such as `g1 partition 3`."""

    def __init__(self, what: str, *, logger: logging.Logger) -> None:
        self._what = what
        self._logger = logger
        self._met: type[Exception] | None = None

    def say(self, error: Exception | None) -> None:
        """A line for the first error and for one of another kind, and one when `None` follows; a repeat is said at DEBUG.

        What is unavailable is a warning, any other error is one with its traceback.
        """
        met, self._met = self._met, None if error is None else type(error)
        if error is None:
            if met is not None:
                self._logger.info("%s goes on", self._what)
        elif type(error) is met:
            self._logger.debug("%s still waits: %s", self._what, error)
        elif isinstance(error, Unavailable):
            self._logger.warning("%s waits: %s", self._what, error)
        else:
            self._logger.error("%s failed and tries again", self._what, exc_info=error)
