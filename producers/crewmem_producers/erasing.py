"""Erasing a session from an immutable log: its data keys are destroyed, then the log says that it is forgotten.

`erasure/<record key>` in the registry is the plan and the proof of it: `{event_id, time, grave, done, keys}`. It is written
first and says everything that a later step needs. So a run that was killed is finished by the next one: with the same event
under the same id, which consumers count once.

`grave` names a data key that is registered as already erased. Late events from before the erasure are sealed under it, so
nobody can read them. A data key that `keys` names counts as erased whatever its own record says: on Kafka a rotation that was
stopped at the wrong moment may have written a wrapped key over the erased one, and compaction keeps only the newest record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from crewmem_producers import data_keys
from crewmem_producers.codec import encode, format_time, parse_time
from crewmem_producers.events import Event, SessionForgotten, new_event_id, utc_now
from crewmem_producers.log import EventLog, Position
from crewmem_producers.registry import Registry, Value
from crewmem_producers.sealed_body import new_key_id

PREFIX = "erasure/"

PLANNED = "erasure_planned"
KEYS_ERASED = "data_keys_erased"
FORGOTTEN = "session_forgotten"
LATE_KEYS_ERASED = "late_data_keys_erased"
NOTED = "erasure_noted"
STEPS = (PLANNED, KEYS_ERASED, FORGOTTEN, LATE_KEYS_ERASED, NOTED)
"""In this order; a crash test stops a process at each of them."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure of a session, which `scope_key`, its record key, names. Forgotten is what happened up to `time`, and what
    lies before the event `event_id` on the log. `keys` are the data keys that are erased, `grave` is the one for late events;
    `done` says that every step was taken."""

    scope_key: str
    event_id: str
    time: datetime
    grave: str
    keys: tuple[str, ...]
    done: bool = False


def erasure_of(registry: Registry, scope_key: str) -> Erasure | None:
    """The session's last erasure, whether it is done or was cut off."""
    value = registry.get(PREFIX + scope_key)
    return None if value is None else parse(PREFIX + scope_key, value)


def parse(key: str, value: Value) -> Erasure:
    """The erasure of a registry's record."""
    time = parse_time(value["time"])
    return Erasure(key.removeprefix(PREFIX), value["event_id"], time, value["grave"], tuple(value["keys"]), bool(value["done"]))


def has_erased(registry: Registry, scope_key: str, id: str) -> bool:
    """Whether the session's erasure names this data key."""
    value = registry.get(PREFIX + scope_key)
    return value is not None and id in value["keys"]


async def enforce(registry: Registry) -> int:
    """Erases every data key that an erasure names and that is there again; how many. Raises RegistryUnavailable."""
    back = [
        (id, erasure)
        for key in registry.items(PREFIX)
        if (erasure := erasure_of(registry, key.removeprefix(PREFIX))) is not None
        for id in erasure.keys
        if (value := registry.get(data_keys.PREFIX + id)) is not None and not data_keys.is_erased(value)
    ]
    for id, erasure in back:
        await registry.put(data_keys.PREFIX + id, _erased(erasure))
    return len(back)


async def erase(
    scope_key: str,
    *,
    log: EventLog,
    registry: Registry,
    source: str,
    clock: Callable[[], datetime] = utc_now,
    checkpoint: Callable[[str], None] = lambda step: None,
) -> tuple[Erasure, Position, int]:
    """Erases every data key of the session and appends its `session.forgotten`; finishes an erasure that was cut off. What is
    published to the session meanwhile may go with it.

    Gives the erasure, the event's position and how many data keys this run erased. Raises LogUnavailable,
    RegistryUnavailable: call it again.
    """
    await registry.refresh()
    planned = erasure_of(registry, scope_key)
    before = len(_live(registry, scope_key))
    if planned is None or planned.done:
        planned = Erasure(scope_key, new_event_id(), clock(), new_key_id(scope_key), keys=())
    elif not _live(registry, scope_key) <= set(planned.keys):
        planned = _again(planned, clock)
    position = await _round(planned, log=log, registry=registry, source=source, checkpoint=checkpoint)
    if late := _live(registry, scope_key):
        planned = _again(planned, clock)
        position = await _round(planned, log=log, registry=registry, source=source, checkpoint=checkpoint)
    checkpoint(LATE_KEYS_ERASED)
    erased = data_keys.of_scope(registry, scope_key).keys() - _live(registry, scope_key)
    done = replace(planned, keys=tuple(sorted(erased)), done=True)
    await _note(registry, done)
    checkpoint(NOTED)
    return done, position, before + len(late)


async def _round(
    planned: Erasure, *, log: EventLog, registry: Registry, source: str, checkpoint: Callable[[str], None]
) -> Position:  # fmt: skip
    """Erases the data keys that there are, and appends the event. The registry is read once more afterwards: its view then
    holds every data key that sealed something before the event."""
    keys = tuple(sorted({*planned.keys, *data_keys.of_scope(registry, planned.scope_key)}))
    await _note(registry, replace(planned, keys=keys))
    checkpoint(PLANNED)
    await registry.put(data_keys.PREFIX + planned.grave, _erased(planned))
    for id in _live(registry, planned.scope_key):
        await registry.put(data_keys.PREFIX + id, _erased(planned))
    checkpoint(KEYS_ERASED)
    body = SessionForgotten(erased_keys=sorted(data_keys.of_scope(registry, planned.scope_key)))
    event = Event(body, None, id=planned.event_id, time=planned.time, source=source, record_key=planned.scope_key)
    [position] = await log.append([encode(event)])
    checkpoint(FORGOTTEN)
    await registry.refresh()
    return position


def _again(planned: Erasure, clock: Callable[[], datetime]) -> Erasure:
    """A new event id and time: a data key made since then sealed events on both sides of the last `session.forgotten`; all of
    them must end as forgotten."""
    return replace(planned, event_id=new_event_id(), time=clock())


def _live(registry: Registry, scope_key: str) -> set[str]:
    """Ids of the session's data keys that are not erased."""
    return {id for id, value in data_keys.of_scope(registry, scope_key).items() if not data_keys.is_erased(value)}


async def touch(registry: Registry, erasure: Erasure) -> None:
    """Writes the erasure's note again: Kafka cleans a segment only once a later record has begun another."""
    await _note(registry, erasure)


def _erased(erasure: Erasure) -> dict[str, str]:
    return data_keys.erased(erasure.scope_key, at=erasure.time)


async def _note(registry: Registry, erasure: Erasure) -> None:
    value = {
        "event_id": erasure.event_id, "time": format_time(erasure.time), "grave": erasure.grave, "done": erasure.done,
        "keys": list(erasure.keys),
    }  # fmt: skip
    await registry.put(PREFIX + erasure.scope_key, value)
