"""LLM summaries, made afterwards by the partition's owner: shown to people and agents, never searched, never decided from.

Nothing here delays a position: the endpoint is asked on the event loop, and only what it answered is written, between two
batches of the partition's worker. An endpoint that is down leaves a backlog, which is worked off when it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence

from crewmem_producers.errors import Unavailable
from crewmem_store.rows import MemoryRow
from crewmem_store.store import PartitionStore, Summary

from crewmem_consumers.errors import LlmRefused
from crewmem_consumers.llm import LlmClient
from crewmem_consumers.outage import Outage
from crewmem_consumers.partition_worker import PartitionWorker

log = logging.getLogger("crewmem.consumer")

PROMPT = (
    "Summarise the following text in at most three sentences. Keep every name, number, price, date and URL exactly as it is. "
    "Add nothing that is not in the text. Answer with the summary alone."
)
SHORT_CHARACTERS = 400
"""A memory up to here is its own summary: a model would only say the same again."""
MOST_CHARACTERS = 12_000
LEAST_CHARACTERS = 1_000
GROUP = 8
"""Summaries that are written at once: each write is a commit of the table."""
POLL_SECONDS = 2.0
MAX_BACKOFF_SECONDS = 60.0


class Summariser:
    """Text to summary, by one model and one prompt; `fingerprint` changes when either does."""

    def __init__(self, client: LlmClient) -> None:
        self._client = client
        self.fingerprint = f"llm-{client.model}-{hashlib.sha256(PROMPT.encode()).hexdigest()[:8]}"

    async def summarise(self, content: str) -> str:
        """The summary; a short content itself. Raises LlmUnavailable, LlmRefused when no part of the text is taken."""
        if len(content) <= SHORT_CHARACTERS:
            return content
        characters = MOST_CHARACTERS
        while True:
            try:
                return await self._client.complete(system=PROMPT, user=content[:characters])
            except LlmRefused:
                # A model with a small window refuses what does not fit: its beginning says most of what it is about.
                characters = min(characters, len(content)) // 2
                if characters < LEAST_CHARACTERS:
                    raise


class Summaries:
    """Works off one partition's backlog of summaries, for as long as its worker runs."""

    def __init__(
        self,
        *,
        worker: PartitionWorker,
        summariser: Summariser,
        elsewhere: Callable[[str], Iterable[MemoryRow]] = lambda id: (),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`elsewhere(id)` gives the same memory in other generations: a summary of the same text is not made twice."""
        self._worker = worker
        self._summariser = summariser
        self._elsewhere = elsewhere
        self._poll_seconds = poll_seconds
        self._outage = Outage(f"the LLM summaries of partition {worker.partition}", logger=log)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"summaries of partition {self._worker.partition}")

    async def stop(self) -> None:
        """Ends at once: what was not written is asked for again later."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        wait = self._poll_seconds
        while not self._worker.task.done():
            try:
                more = await self._work_off()
                self._worker.status.llm_waits_for = None
                self._outage.say(None)
                wait = 0.0 if more else self._poll_seconds
            except Unavailable as error:
                wait = min(MAX_BACKOFF_SECONDS, 2 * max(wait, self._poll_seconds))
                self._worker.status.llm_waits_for = f"{type(error).__name__}: {error}"
                self._outage.say(error)
            except Exception as error:  # a fault of ours: the memories are there without a summary, and the log line says why
                wait = MAX_BACKOFF_SECONDS
                self._outage.say(error)
            await asyncio.sleep(wait)

    async def _work_off(self) -> bool:
        """One group of the backlog; whether there is more."""
        store = self._worker.store
        if store is None:
            return False
        rows = await self._backlog(store)
        done: list[Summary] = []
        try:
            for row in rows[:GROUP]:
                done.append(await self._summary(row))
        finally:
            if done:  # also what was answered before the endpoint went away
                await self._worker.on_thread(lambda: store.set_summaries(done))
                self._worker.status.llm_backlog = max(0, self._worker.status.llm_backlog - len(done))
        return len(rows) > GROUP

    async def _backlog(self, store: PartitionStore) -> Sequence[MemoryRow]:
        fingerprint = self._summariser.fingerprint
        backlog = await self._worker.on_thread(lambda: store.summary_backlog(summariser=fingerprint))
        self._worker.status.llm_backlog = backlog
        if not backlog:
            return ()
        return await self._worker.on_thread(lambda: store.unsummarised(summariser=fingerprint, limit=GROUP + 1))

    async def _summary(self, row: MemoryRow) -> Summary:
        try:
            summary = await self._worker.on_thread(lambda: self._made_elsewhere(row))
            if summary is None:
                summary = await self._summariser.summarise(row.content or row.text or "")
        except LlmRefused as error:
            log.warning("the endpoint takes no part of memory %s, which stays without an LLM summary: %s", row.id, error)
            summary = ""
        return Summary(row.id, summary, self._summariser.fingerprint)

    def _made_elsewhere(self, row: MemoryRow) -> str | None:
        wanted = (row.text, row.content, self._summariser.fingerprint)
        same = (other for other in self._elsewhere(row.id) if (other.text, other.content, other.summariser) == wanted)
        return next((other.summary for other in same if other.summary is not None), None)
