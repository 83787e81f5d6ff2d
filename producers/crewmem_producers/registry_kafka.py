"""The registry of a fleet: a compacted topic of one partition, read whole at start and followed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.errors import LogRefused, LogUnavailable, RegistryUnavailable
from crewmem_producers.following import FOLLOW_SECONDS, Follower
from crewmem_producers.kafka import TIMEOUT_SECONDS
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.registry import PASSING, Value, check_passing, is_final
from crewmem_producers.registry_view import RegistryView
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.started import started
from crewmem_producers.topics import registry_topic

logger = logging.getLogger(__name__)


class KafkaRegistry:
    """The newest record of a key is its value, but for an erasure, which nothing but another one takes the place of."""

    def __init__(
        self, settings: KafkaSettings, *, timeout_seconds: float = TIMEOUT_SECONDS, follow_seconds: float = FOLLOW_SECONDS,
        wait: BrokerWait = NO_WAIT,
    ) -> None:  # fmt: skip
        topic = registry_topic(settings.namespace)
        self._log = KafkaLog(settings, topic=topic, timeout_seconds=timeout_seconds, wait=wait)
        self._view = RegistryView()
        self._next = 0
        self._overwritten: dict[str, Value] = {}
        """The erasures that have a later record under their key which is none."""
        self._reading = asyncio.Lock()
        self._follower = Follower(self.refresh, seconds=follow_seconds)

    async def start(self) -> None:
        """Reads the whole topic and starts following it. Raises RegistryUnavailable, LogRefused, SettingsError."""
        try:
            await self._log.start()
        except LogUnavailable as error:
            raise _unavailable(error) from error
        try:
            await self.refresh()
        except BaseException:
            await self._log.close()
            raise
        self._follower.start()

    async def put(self, key: str, value: Value) -> None:
        """Writes durably; this process sees it at once. Raises RegistryUnavailable."""
        await self._write(_record(key, value))

    async def remove(self, key: str) -> None:
        """Writes a null, which compaction takes away with what was there before. Raises RegistryUnavailable, ValueError."""
        check_passing(key)
        if self.get(key) is not None:
            await self._write(Record(key.encode(), None, partition=0))

    async def refresh(self) -> None:
        """Returns once the local view holds everything that was written before. Raises RegistryUnavailable."""
        try:
            async with self._reading:
                end = (await self._log.end())[0]
                while self._next < end:
                    records = await self._log.read(0, self._next)
                    for record in records:
                        self._apply(record)
                    # Nothing left to read: compaction has taken the last offsets away.
                    self._next = records[-1].offset + 1 if records else end
                await self._put_right()
        except LogUnavailable as error:
            raise _unavailable(error) from error

    def get(self, key: str) -> Value | None:
        return self._view.get(key)

    def items(self, prefix: str) -> dict[str, Value]:
        return self._view.items(prefix)

    async def close(self) -> None:
        """Stops following; safe to call twice."""
        await self._follower.stop()
        await self._log.close()

    async def _write(self, record: Record) -> None:
        try:
            await self._log.append([record])
        except LogUnavailable as error:
            raise _unavailable(error) from error
        await self.refresh()

    async def _put_right(self) -> None:
        """Compaction keeps the newest record only: an erasure that was written over is made the newest again, by whoever sees
        it and may write, since the one that wrote over it may have been killed."""
        for key, value in sorted(self._overwritten.items()):
            with contextlib.suppress(LogRefused):
                await self._log.append([_record(key, value)])
            del self._overwritten[key]

    def _apply(self, record: LoggedRecord) -> None:
        try:
            key, value = (record.key or b"").decode(), json.loads(record.value or b"null")
        except (ValueError, RecursionError):
            key, value = "", None
        if record.value is None and key.startswith(PASSING):
            self._view.remove(key)
        elif isinstance(value, dict):
            there = self._view.get(key)
            if there is not None and is_final(there) and not is_final(value):
                self._overwritten[key] = there
            else:
                self._view.put(key, value)
                self._overwritten.pop(key, None)
        else:
            logger.warning("the registry's record at offset %d is no JSON object and changes nothing", record.offset)


async def append(settings: KafkaSettings, key: str, value: Value) -> None:
    """Writes one record and reads none. Raises RegistryUnavailable, LogRefused."""
    try:
        async with started(KafkaLog(settings, topic=registry_topic(settings.namespace))) as log:
            await log.append([_record(key, value)])
    except LogUnavailable as error:
        raise _unavailable(error) from error


def _record(key: str, value: Value) -> Record:
    return Record(key.encode(), json.dumps(value).encode(), partition=0)


def _unavailable(error: LogUnavailable) -> RegistryUnavailable:
    return RegistryUnavailable(f"the registry: {error}")
