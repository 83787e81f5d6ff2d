"""The small alphabet of the model: what may lie on the log, as the consumer's own stages hand it to its `Decider`.

A log is a tuple of symbols, one a record:
  a        remembers a text                        t        the same text with a time to live
  ka kb    remember two texts under one key        f c      a task fails; the same task is completed
  x<n>     forgets the event of record n, which may come later (or be forgotten again)
  e        forgets the session, after its data key was erased where records are sealed
  r<n>     the same event as record n once more
  l        remembers the text of `a`, but long ago: a publisher that was offline
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import product

from crewmem_consumers.decode import decode
from crewmem_consumers.item import Item
from crewmem_consumers.redact import redact
from crewmem_consumers.rules import default_rules
from crewmem_consumers.select import select
from crewmem_consumers.split import split
from crewmem_consumers.summarise import summarise
from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.log import LoggedRecord
from crewmem_store.embedder_hashing import HashingEmbedder
from support.keyrings import plain_keyring
from support.pipeline import SESSION, START, erase, failure, forget, kickoff, remember

Log = tuple[str, ...]

SCOPE = f"default/{SESSION}"
SPANS = {"f": "error", "c": "task/0"}
"""What a forget of such a record names; of the others it is `content`."""

_DIMENSIONS = 4


def logs(length: int) -> Iterator[Log]:
    """Every log of that many records that means something."""
    plain = ["a", "t", "ka", "kb", "f", "c", "e", "l"]
    symbols = [*plain, *(f"{kind}{number}" for kind in "xr" for number in range(length))]
    return (log for log in product(symbols, repeat=length) if _means_something(log))


def _means_something(log: Log) -> bool:
    for place, symbol in enumerate(log):
        if symbol[0] == "x" and (int(symbol[1:]) == place or log[int(symbol[1:])][0] in "xer"):
            return False  # a forget names a memory
        if symbol[0] == "x" and "e" in log[place : int(symbol[1:])] and log[int(symbol[1:])] != "l":
            return False  # what happens after the session was forgotten cannot be named before
        if symbol[0] == "r" and (int(symbol[1:]) >= place or log[int(symbol[1:])][0] == "r"):
            return False  # a repeat comes after the first
    keyed = [symbol for symbol in log if symbol[0] == "k"]
    return not keyed or keyed[0] == "ka"  # which of the two comes first makes no difference


def origin(log: Log, place: int) -> int:
    """The record whose event this one is."""
    return int(log[place][1:]) if log[place][0] == "r" else place


@cache
def unreadable(log: Log, place: int) -> bool:
    """Whether the record is sealed, if any is, with the key that is erased before the log's first `e`."""
    if "e" not in log or log[origin(log, place)] == "e":
        return False
    return origin(log, place) < log.index("e") or log[origin(log, place)] == "l"


def event_id(place: int) -> str:
    return f"event-{place:05d}"


def time_of(log: Log, place: int) -> int:
    """The record's `ce_time`, in seconds after START."""
    return -1_000_000 + origin(log, place) if log[origin(log, place)] == "l" else origin(log, place)


def covers(log: Log, place: int, event: str, offset: int, created_at: object) -> bool:
    """Whether the forget at `place` forbids the text of that event's row."""
    symbol = log[origin(log, place)]
    if symbol[0] == "x":
        return event == event_id(int(symbol[1:]))
    return symbol == "e" and (offset < origin(log, place) or created_at <= START + timedelta(seconds=origin(log, place)))


@cache
def item(log: Log, place: int, *, erased: bool) -> Item:
    """The record as the stages before deciding leave it. Nothing is near another text here, so there are no vectors."""
    return _item(log[origin(log, place)], _target(log, origin(log, place)), origin(log, place), place, erased)


def _target(log: Log, place: int) -> str:
    symbol = log[place]
    return SPANS.get(log[int(symbol[1:])], "content") if symbol[0] == "x" else ""


@cache
def _item(symbol: str, target: str, origin: int, place: int, erased: bool) -> Item:
    record = encode(_event(symbol, target, origin))
    logged = LoggedRecord(0, place, record.key, record.value, record.headers, 1_767_323_045_000 + place)
    if erased:
        return Item(logged, erased=True)
    (made,) = decode([logged], keyring=plain_keyring())
    assert made.event is not None
    if split(made.event):
        made.selection = select(made.event, split(made.event), default_rules())
        redact(made.selection.kept)
        summarise(made.selection.kept, embedder=HashingEmbedder(dimensions=_DIMENSIONS))
    return made


def _event(symbol: str, target: str, number: int) -> Event:
    match symbol[0]:
        case "x":
            return forget((event_id(int(symbol[1:])), target), number=number)
        case "e":
            return replace(erase(number=number), id=event_id(number))
        case "f":
            return failure("no answer", number=number)
        case "c":
            return kickoff("Done: sent the mail", number=number)
        case "k":
            return remember(f"The owner is {symbol[1]}", key="k", number=number)
        case "l":
            return replace(remember("alpha", number=number), time=START + timedelta(seconds=number - 1_000_000))
    return remember("alpha", number=number, ttl=60.0 if symbol == "t" else None)
