"""Decode: records into events. What can never be one is rejected by itself and holds up nothing beside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from crewmem_producers import codec
from crewmem_producers.compression import unpacked_size
from crewmem_producers.errors import CrewmemError, InvalidEvent, KeyErased, Unavailable
from crewmem_producers.events import Event, KickoffCompleted, RulesApplied
from crewmem_producers.keyring import Keyring
from crewmem_producers.limits import BODY_BYTES
from crewmem_producers.log import LoggedRecord

from crewmem_consumers.errors import RuleError
from crewmem_consumers.item import Item, Rejection
from crewmem_consumers.rules import RuleSet, fingerprint

MAX_DETAIL = 500
"""Characters of a rejection's sentence, at most: it goes into a header."""
FAULT = "fault"
"""Reason of a record that this program fails over. It would fail again and again, and the partition would stand still; as a
dead letter it waits for a program that does not."""
SURROUNDINGS = (Unavailable, MemoryError, OSError)
"""Errors that say nothing of the record."""

log = logging.getLogger("crewmem.consumer")


def decode(records: Sequence[LoggedRecord], *, keyring: Keyring) -> list[Item]:
    """An item a record, in order. Raises KeyMissing: a record that cannot be opened now is waited for, never rejected."""
    return [_item(record, keyring) for record in records]


def body_bytes(record: LoggedRecord, *, keyring: Keyring) -> int:
    """How many bytes its body unpacks to, as it says itself, and at most BODY_BYTES, which is all that is ever unpacked."""
    if record.value is None:
        return 0
    try:
        opened = keyring.open(record).value
    except (CrewmemError, OSError):  # whatever it is, decoding finds it too, and says so
        opened = record.value
    return min(unpacked_size(opened or b""), BODY_BYTES)


def fault(record: LoggedRecord, error: Exception) -> Rejection:
    """Why the record is a dead letter when a stage that looks at it alone raises what nobody expected."""
    log.exception("%s (event %s) becomes a dead letter: this program failed over it", record.position, record.header("ce_id"))
    detail = f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()
    return Rejection(FAULT, detail[:MAX_DETAIL])


def _item(record: LoggedRecord, keyring: Keyring) -> Item:
    try:
        event = codec.decode(keyring.open(record))
        _check(event)
    except KeyErased:
        return Item(record, erased=True)
    except InvalidEvent as error:
        return Item(record, rejection=Rejection(error.reason, str(error)[:MAX_DETAIL]))
    except SURROUNDINGS:
        raise
    except Exception as error:
        return Item(record, rejection=fault(record, error))
    return Item(record, event=event)


def _check(event: Event) -> None:
    """What the bodies' types cannot say."""
    match event.body:
        case KickoffCompleted() as body:
            indexes = [task.index for task in body.tasks]
            if len(set(indexes)) < len(indexes):
                twice = next(index for place, index in enumerate(indexes) if index in indexes[place + 1 :])
                raise InvalidEvent(f"two tasks have the index {twice}", reason="wrong_schema")
        case RulesApplied() as body:
            _check_rules(body)


def _check_rules(body: RulesApplied) -> None:
    if fingerprint(body.rules) != body.sha256:
        raise InvalidEvent("sha256 is not that of the rules", reason="invalid_rules")
    try:
        RuleSet.parse(body.rules, file="rules.applied", applied=True)
    except RuleError as error:
        raise InvalidEvent(str(error), reason="invalid_rules") from error
