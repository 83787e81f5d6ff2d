"""Which dead letters a command means, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from crewmem_producers.errors import LogUnavailable, SettingsError
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import record_at
from crewmem_producers.settings import StoreSettings

from crewmem.cli import parts
from crewmem.cli.errors import UnknownLetter

if TYPE_CHECKING:
    from crewmem_consumers.letter_box import Letter
    from crewmem_consumers.letter_conditions import LetterCondition
    from crewmem_store.letter_states import LetterState
    from crewmem_store.store import StoreReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What dead letters are looked at with: the two logs, the active generation (None before there is one), the keys."""

    log: EventLog
    dead_letter_log: EventLog
    reader: StoreReader | None
    keyring: Keyring

    async def letters(self) -> list[Letter]:
        """Every dead letter once with its state, by position. Raises LogUnavailable, StoreUnavailable."""
        from crewmem_consumers.letter_box import letters

        found = [letter async for letter in letters(self.dead_letter_log, keyring=self.keyring)]
        states = {p: await self._states(p) for p in {letter.position.partition for letter in found}}
        told = [replace(letter, state=states[letter.position.partition].of(letter.position)) for letter in found]
        return sorted(told, key=lambda letter: letter.position)

    async def sent(self, letter: Letter) -> LoggedRecord:
        """The letter as it lies on its log, bytes and all; of one whose body was left out, its record on the events' log.

        Raises LogUnavailable when it is not there any more.
        """
        from crewmem_consumers.letters import CUT

        record = await record_at(self.dead_letter_log, letter.place)
        if record is not None and record.header(CUT) is not None:
            record = await record_at(self.log, letter.position)
        if record is None:
            raise LogUnavailable(
                f"the dead letter of {letter.position} is not on its log any more: retention took it, or the log was wiped. "
                "Restore it from a backup (`crewmem backup restore`), or discard the letter (`crewmem dlq discard`)"
            )
        return record

    async def _states(self, partition: int) -> _States:
        from crewmem_consumers.later_facts import read_later_facts
        from crewmem_store.letter_states import facts
        from crewmem_store.rows import Outcome

        last, rows = -1, []
        if self.reader is not None:
            last = await asyncio.to_thread(self.reader.last_offset, partition)
            rows = list(await asyncio.to_thread(self.reader.letters, partition))
        behind = await read_later_facts(self.log, partition, start=last + 1)
        dead = frozenset(row.offset for row in rows if row.outcome is Outcome.DEAD_LETTER)
        return _States(last, dead, facts(rows) | behind.states)


@dataclass(frozen=True, slots=True)
class _States:
    """One partition: how far the ledger is, which offsets are dead letters there, and what was said of them."""

    last: int
    dead: frozenset[int]
    said: dict[Position, LetterState]

    def of(self, position: Position) -> LetterState:
        from crewmem_store.letter_states import LetterState

        if (said := self.said.get(position)) is not None:
            return said
        read = position.offset <= self.last and position.offset not in self.dead
        return LetterState.PROCESSED if read else LetterState.OPEN


@asynccontextmanager
async def desk(settings: StoreSettings) -> AsyncIterator[Desk]:
    """Opens what dead letters are looked at with. Raises SettingsError where there is no log, Unavailable."""
    from crewmem_producers.connect import open_keyring
    from crewmem_store import generations

    async with AsyncExitStack() as opened:
        log = await opened.enter_async_context(parts.existing_log(settings))
        dead_letter_log = await opened.enter_async_context(parts.dead_letter_log(settings))
        registry = await opened.enter_async_context(parts.registry(settings))
        active, reader = generations.active_or_none(registry), None
        if active is not None:
            reader = (await opened.enter_async_context(parts.store(settings))).reader(active.name)
        yield Desk(log=log, dead_letter_log=dead_letter_log, reader=reader, keyring=open_keyring(settings, registry))


def condition_of(where: str | None) -> LetterCondition | None:
    """`--where` as a condition. Raises SettingsError that says what is wrong with it."""
    from crewmem_consumers.letter_conditions import LetterCondition

    try:
        return None if where is None else LetterCondition(where)
    except ValueError as error:
        raise SettingsError(f"--where {where!r} cannot be used: {error}") from error


def select(letters: Sequence[Letter], *, ids: Sequence[str], where: LetterCondition | None, now: datetime) -> list[Letter]:
    """Those that are named by event id or `partition/offset`, if any are, and that the condition holds for, if there is one.

    Raises UnknownLetter for an id that no letter has, SettingsError where the condition cannot be evaluated.
    """
    named = list(letters)
    if ids:
        for id in ids:
            if not any(_is(letter, id) for letter in letters):
                raise UnknownLetter(f"there is no dead letter {id}: `crewmem dlq list` shows the open ones")
        named = [letter for letter in letters if any(_is(letter, id) for id in ids)]
    if where is None:
        return named
    try:
        return [letter for letter in named if where.holds(letter, now=now)]
    except ValueError as error:
        raise SettingsError(f"--where cannot be evaluated: {error}") from error


def check(letters: Sequence[Letter], *, partitions: int) -> None:
    """Raises SettingsError for a letter of a log with more partitions than this one."""
    for letter in letters:
        if letter.position.partition >= partitions:
            raise SettingsError(
                f"the dead letter {letter.position} is of another log: this one has {partitions} partitions. Leave it out "
                f"with --where 'partition < {partitions}'"
            )


def _is(letter: Letter, id: str) -> bool:
    return letter.event_id == id or letter.position == Position.parse(id)
