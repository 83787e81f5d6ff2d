"""Redrive and discard: what an operator, or a newer consumer, says of dead letters, as events on the log.

A redrive appends the letter's record once more, to its own partition, then the event that says so. Whoever does it again,
after a crash between the two as well, finds the copy behind the letter and appends no second one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from crewmem_producers.codec import EVENT_ID, encode
from crewmem_producers.events import Event, EventDiscarded, EventRedriven, PositionRef
from crewmem_producers.log import EventLog, LoggedRecord, Position, Record
from crewmem_store.letter_states import LetterState

from crewmem_consumers.later_facts import COPY_OF, LaterFacts, read_later_facts
from crewmem_consumers.letters import PREFIX
from crewmem_consumers.steps import COPIED, Checkpoint, no_checkpoint

GROUP = 50
"""Letters whose copies are appended before the events that say so."""


class Ref(NamedTuple):
    """Which dead letter: where its record lies on the log, and its `ce_id` as far as it had a readable one."""

    position: Position
    event_id: str | None


Fetch = Callable[[Ref], Awaitable[LoggedRecord | Record]]
"""The record of a letter, with or without the headers that made it one. Raises LogUnavailable."""


async def redrive(
    letters: Iterable[Ref], *, log: EventLog, fetch: Fetch, source: str, checkpoint: Checkpoint = no_checkpoint,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Position]:  # fmt: skip
    """Puts these letters on the log again, those that were redriven before left out; the positions of the others, of which
    `progress` is told how many there are so far.

    Doing it twice, or going on after a crash, appends no record twice. Raises LogUnavailable; EventTooLarge, ValueError
    for a position of another log.
    """
    done: list[Position] = []
    for partition, refs in _by_partition(letters):
        behind = await read_later_facts(log, partition, start=refs[0].position.offset + 1)
        for group in _groups([ref for ref in refs if behind.states.get(ref.position) is not LetterState.REDRIVEN]):
            await _append(group, behind, log=log, fetch=fetch, source=source, checkpoint=checkpoint)
            done += [ref.position for ref in group]
            progress(len(done))
    return done


async def discard(letters: Iterable[Ref], *, log: EventLog, source: str) -> list[Position]:
    """Says of these letters that they are of no use, those that a later fact speaks of left out; the positions of the
    others. Raises LogUnavailable; ValueError for a position of another log."""
    done: list[Position] = []
    for partition, refs in _by_partition(letters):
        behind = await read_later_facts(log, partition, start=refs[0].position.offset + 1)
        fresh = [ref for ref in refs if ref.position not in behind.states]
        await log.append([_fact(EventDiscarded, ref, source) for ref in fresh])
        done += [ref.position for ref in fresh]
    return done


async def _append(
    group: Sequence[Ref], behind: LaterFacts, *, log: EventLog, fetch: Fetch, source: str, checkpoint: Checkpoint
) -> None:  # fmt: skip
    missing = [ref for ref in group if ref.position not in behind.copies]
    if missing:
        await log.append([copy(await fetch(ref), ref.position) for ref in missing])
    checkpoint(COPIED)
    await log.append([_fact(EventRedriven, ref, source) for ref in group])


def copy(record: LoggedRecord | Record, position: Position) -> Record:
    """The record as it was first on the log, and a header that says of which position it is the copy."""
    kept = tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX) and name != COPY_OF)
    header = (COPY_OF, str(position).encode())
    return Record(record.key, record.value, (*kept, header), partition=position.partition)


def _fact(body: type[EventRedriven | EventDiscarded], ref: Ref, source: str) -> Record:
    event_id = ref.event_id if ref.event_id and EVENT_ID.fullmatch(ref.event_id) else None
    said = body(position=PositionRef(partition=ref.position.partition, offset=ref.position.offset), event_id=event_id)
    return encode(Event(body=said, scope=None, source=source), partition=ref.position.partition)


def _by_partition(letters: Iterable[Ref]) -> Iterator[tuple[int, list[Ref]]]:
    """Each letter once, by position."""
    once = {ref.position: ref for ref in letters}
    for partition, refs in groupby(sorted(once.values()), key=lambda ref: ref.position.partition):
        yield partition, list(refs)


def _groups(refs: Sequence[Ref]) -> Iterator[list[Ref]]:
    left = iter(refs)
    while group := list(islice(left, GROUP)):
        yield group
