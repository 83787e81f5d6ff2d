"""Looks now and then whether Kafka's topics still keep what crewmem needs them to keep."""

from __future__ import annotations

import asyncio
import logging

from crewmem_producers.errors import CrewmemError, LogUnavailable
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import needed_problems

LOOK_SECONDS = 300.0
"""An operator's change counts from the next look on. Brokers look for what they may delete every 5 minutes by default."""
AGAIN_SECONDS = 15.0
"""So soon it is looked again where no broker answered."""


class TopicWatch:
    """`problems` is what the last look found, a sentence for each setting that is not as it must be, with the command that
    changes it; None until brokers have answered once. A problem is one log line when it is found, and one when it is gone."""

    def __init__(self, settings: KafkaSettings, *, logger: logging.Logger) -> None:
        self._settings = settings
        self._logger = logger
        self._untold = False
        self.problems: tuple[str, ...] | None = None

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        while True:
            answered = await self.look()
            await asyncio.sleep(LOOK_SECONDS if answered else AGAIN_SECONDS)

    async def look(self) -> bool:
        """One look; whether brokers answered. What is found while they do not stays as it was."""
        try:
            problems, unknown = await needed_problems(self._settings)
        except LogUnavailable:
            return False  # whoever reads the log says that it is away
        except CrewmemError as error:
            self._logger.debug("the settings of the topics cannot be read: %s", error)
            return False
        before = self.problems or ()
        for sentence in problems:
            if sentence not in before:
                self._logger.error("%s", sentence)
        if before and not problems:
            self._logger.info("the topics keep what they must keep again")
        if unknown and not self._untold:
            self._untold = True
            self._logger.warning(
                "it is not known whether %s keep what they must keep: give this user the right DescribeConfigs there"
                " (docs/kafka.md)",
                " and ".join(unknown),
            )
        self.problems = tuple(problems)
        return True
