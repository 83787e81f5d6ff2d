"""Saying what fails again and again: once when it begins, once when it is over, and not at every try in between."""

from __future__ import annotations

import logging


class Trouble:
    """Something that is tried again and again. `fails`, followed by the error, is the warning when it begins to fail; `works`
    is the line when it works again."""

    def __init__(self, *, fails: str, works: str, logger: logging.Logger) -> None:
        self._fails, self._works = fails, works
        self._logger = logger
        self._failing = False

    def met(self, error: Exception) -> None:
        """It has failed. Warns the first time; repeats are logged at DEBUG."""
        self._logger.log(logging.DEBUG if self._failing else logging.WARNING, "%s: %s", self._fails, error)
        self._failing = True

    def over(self) -> None:
        """It has worked. Says so if it had failed before."""
        if self._failing:
            self._logger.info("%s", self._works)
        self._failing = False
