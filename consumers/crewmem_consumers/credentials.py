"""Whether the password or the certificates for Kafka were changed: the group's client keeps those that it was made with."""

from __future__ import annotations

import asyncio
import logging

from crewmem_producers.errors import CrewmemError
from crewmem_producers.kafka import credentials_mark
from crewmem_producers.kafka_admin import kafka_admin
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.trouble import Trouble

log = logging.getLogger("crewmem.consumer")

ASK_SECONDS = 5.0
"""How often Kafka is asked whether it takes new ones."""
ANSWER_SECONDS = 5.0


class Credentials:
    """Those with which clients are made now. Connections that stand need no new ones: until Kafka takes those that are new
    nothing is given up for them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._used = credentials_mark(settings)
        self._ask_at = float("-inf")
        self._trouble = Trouble(
            fails="the credentials for Kafka were changed, and it does not take the new ones yet",
            works="Kafka takes the new credentials", logger=log,
        )  # fmt: skip

    async def are_new(self) -> bool:
        """Whether they were changed and Kafka takes the new ones; said once for each change."""
        found, now = credentials_mark(self._settings), asyncio.get_running_loop().time()
        if found == self._used or now < self._ask_at:
            return False
        self._ask_at = now + ASK_SECONDS
        try:
            async with kafka_admin(self._settings, seconds=ANSWER_SECONDS):
                pass
        except CrewmemError as error:
            self._trouble.met(error)
            return False
        self._trouble.over()
        self._used = found
        return True
