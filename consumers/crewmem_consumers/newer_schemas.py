"""Dead letters of a newer version: put on the log again by themselves, by the owner of their partition, once it is a program
that can read them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing, LogUnavailable, NewerSchema
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import record_at
from crewmem_store import letter_states
from crewmem_store.letter_states import LetterState
from crewmem_store.rows import LedgerRow
from crewmem_store.store import StoreReader

from crewmem_consumers.outage import Outage
from crewmem_consumers.patience import Patience, Stopped, is_set_within
from crewmem_consumers.redrive import Ref, redrive
from crewmem_consumers.steps import Checkpoint, no_checkpoint

logger = logging.getLogger("crewmem.consumer")

NEWER_SCHEMA = "newer_schema"
"""Reason of a dead letter whose body has a version that the consumer did not know."""
LOOK_SECONDS = 1.0
"""How often a generation that does not answer recalls is asked whether it does now."""


class NewerSchemas:
    """One partition, for as long as this process owns it: looks once for letters that it can read now.

    Only for the generation that answers recalls (`is_active`), or every generation's owner would append a copy.
    """

    def __init__(
        self,
        *,
        partition: int,
        reader: StoreReader,
        log: EventLog,
        keyring: Keyring,
        is_active: Callable[[], bool],
        source: str,
        checkpoint: Checkpoint = no_checkpoint,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._partition = partition
        self._reader = reader
        self._log = log
        self._keyring = keyring
        self._is_active = is_active
        self._source = source
        self._checkpoint = checkpoint
        self._look_seconds = look_seconds
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"newer schemas of partition {self._partition}")

    async def stop(self) -> None:
        """Waits for an append in flight: the next owner of the partition must find what it left."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        outage = Outage(f"the redrive of newer events of partition {self._partition}", logger=logger)
        try:
            while not self._is_active():
                if await is_set_within(self._stopping, self._look_seconds):
                    return
            await Patience(stop=self._stopping, say=outage.say).until_done(self._redrive)
        except Stopped:
            return
        except Exception:
            # The memories of this partition go on; `crewmem dlq redrive` does by hand what was not done here.
            logger.exception("the redrive of newer events of partition %d failed: they stay dead letters", self._partition)

    async def _redrive(self) -> None:
        """Redrives what can be read now. Raises KeyMissing for what cannot be opened, once the others are done."""
        refs, shut = [], None
        for row in await asyncio.to_thread(self._open_letters):
            try:
                if await self._is_known(row):
                    refs.append(Ref(Position(self._partition, row.offset), row.ce_id))
            except KeyMissing as error:
                shut = error
            if self._stopping.is_set():
                raise Stopped
        if refs:
            done = await redrive(refs, log=self._log, fetch=self._fetch, source=self._source, checkpoint=self._checkpoint)
            logger.info("partition %d: %d events of a newer version can be read now: redriven", self._partition, len(done))
        if shut is not None:
            raise shut

    def _open_letters(self) -> Sequence[LedgerRow]:
        rows = list(self._reader.letters(self._partition))
        states = letter_states.of_ledger(rows, partition=self._partition)
        return [row for row in rows if row.reason == NEWER_SCHEMA and states.get(row.offset) is LetterState.OPEN]

    async def _is_known(self, row: LedgerRow) -> bool:
        """Whether the record is of a version that this program reads; what becomes of it then is for the pipeline to say."""
        record = await record_at(self._log, Position(self._partition, row.offset))
        if record is None:
            return False  # the log was cut off: there is nothing to put on it again
        await self._keyring.prepare([record])
        try:
            codec.decode(self._keyring.open(record))
        except NewerSchema:
            return False
        except (InvalidEvent, KeyErased):
            return True
        return True

    async def _fetch(self, ref: Ref) -> LoggedRecord:
        """From the events' log, which keeps every record."""
        record = await record_at(self._log, ref.position)
        if record is None:
            raise LogUnavailable(f"the log has no record at {ref.position} any more: restore it (`crewmem backup restore`)")
        return record
