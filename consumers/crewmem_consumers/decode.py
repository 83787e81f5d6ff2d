"""Decode: records into events. What can never be one is rejected by itself and holds up nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent, KeyErased
from crewmem_producers.events import Event, KickoffCompleted, RulesApplied
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord

from crewmem_consumers.errors import RuleError
from crewmem_consumers.item import Item, Rejection
from crewmem_consumers.rules import RuleSet, fingerprint

MAX_DETAIL = 500
"""Characters of a rejection's sentence, at most: it goes into a header."""


def decode(records: Sequence[LoggedRecord], *, keyring: Keyring) -> list[Item]:
    """An item a record, in order. Raises KeyMissing: a record that cannot be opened now is waited for, never rejected."""
    return [_item(record, keyring) for record in records]


def _item(record: LoggedRecord, keyring: Keyring) -> Item:
    try:
        event = codec.decode(keyring.open(record))
        _check(event)
    except KeyErased:
        return Item(record, erased=True)
    except InvalidEvent as error:
        return Item(record, rejection=Rejection(error.reason, str(error)[:MAX_DETAIL]))
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
        RuleSet.parse(body.rules, file="rules.applied")
    except RuleError as error:
        raise InvalidEvent(str(error), reason="invalid_rules") from error
