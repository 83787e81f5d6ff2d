"""Saying what fails again and again: once when it begins, once when it is over, and not at every try in between."""

from __future__ import annotations

import logging


class Trouble:
    """One thing that is tried for ever. `fails` and the error are the warning when it begins, `works` the line at its end."""

    def __init__(self, *, fails: str, works: str, logger: logging.Logger) -> None:
        self._fails, self._works = fails, works
        self._logger = logger
        self._failing = False

    def met(self, error: Exception) -> None:
        """It has failed: a warning the first time, DEBUG for a repeat."""
        self._logger.log(logging.DEBUG if self._failing else logging.WARNING, "%s: %s", self._fails, error)
        self._failing = True

    def over(self) -> None:
        """It has worked: a line if it had failed before."""
        if self._failing:
            self._logger.info("%s", self._works)
        self._failing = False
