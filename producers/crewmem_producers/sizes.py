"""Kickoffs that are too large for one event: one event per task output, and cut where even that is too large.

Sizes are those of the body as JSON, before compression.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace

from crewmem_producers.codec import body_json
from crewmem_producers.errors import EventTooLarge
from crewmem_producers.events import Event, KickoffCompleted, KickoffFailed, TaskOutput, new_event_id
from crewmem_producers.field_types import is_deeper
from crewmem_producers.limits import BODY_LEVELS, CUT_BYTES, ERROR_CHARACTERS, INPUTS_BYTES, SPLIT_BYTES, TASKS

log = logging.getLogger(__name__)

_LEVELS = BODY_LEVELS - 3
"""Of a JSON output: it lies in a task, in the list of tasks, in the body."""
_EVERYWHERE = ("schema_version", "tenant", "session", "execution_id", "parent", "crew", "crew_key", "recalled", "truncated")


def fit(event: Event) -> list[Event]:
    """The event, or the events that say the same in pieces of a size that the log takes.

    A kickoff over SPLIT_BYTES or TASKS becomes one event per task output under its execution id; inputs, `raw`, `json`, token
    usage and the error go with the last. A piece over CUT_BYTES is cut and marked `truncated`, with a warning, and so is one
    whose inputs are over INPUTS_BYTES or that is nested deeper than BODY_LEVELS.
    Raises EventTooLarge for what is no kickoff and is over CUT_BYTES, or stays so when it is cut.
    """
    body, size = event.body, len(body_json(event.body))
    if not isinstance(body, KickoffCompleted):
        if size > CUT_BYTES:
            raise EventTooLarge(f"event {event.id} has {size} bytes; at most {CUT_BYTES} can be published")
        return [event]
    if size <= SPLIT_BYTES and len(body.tasks) <= TASKS and not _has_too_deep(body):
        return [event]
    return [replace(piece, body=_cut(piece)) for piece in _pieces(event, body)]


def _pieces(event: Event, body: KickoffCompleted) -> list[Event]:
    """One event per task output; the last keeps the event's id."""
    if len(body.tasks) < 2:
        return [event]
    common = {name: getattr(body, name) for name in _EVERYWHERE} | {"execution_id": body.execution_id or event.id}
    first = [replace(event, id=new_event_id(), body=KickoffCompleted(tasks=[task], **common)) for task in body.tasks[:-1]]
    last = body.model_copy(update={"tasks": body.tasks[-1:], "execution_id": common["execution_id"]})
    return [*first, replace(event, body=last)]


def _cut(piece: Event) -> KickoffCompleted:
    """The body, cut to CUT_BYTES: first what only repeats or accompanies the outputs, then the outputs themselves."""
    body = piece.body
    assert isinstance(body, KickoffCompleted)
    body = _without_what_no_event_takes(piece.id, body)
    size = len(body_json(body))
    if size <= CUT_BYTES:
        return body
    log.warning("event %s has %d bytes and is cut to %d: its end is not remembered", piece.id, size, CUT_BYTES)
    body = _without_extras(body)
    longest = max([len(body.raw), *(len(task.raw) for task in body.tasks)])
    while (size := len(body_json(body))) > CUT_BYTES and longest > 0:
        longest = int(longest * CUT_BYTES / size * 0.99)
        body = body.model_copy(update={"raw": body.raw[:longest], "tasks": [_shortened(task, longest) for task in body.tasks]})
    if size > CUT_BYTES:
        raise EventTooLarge(f"event {piece.id} has {size} bytes without its outputs; at most {CUT_BYTES} can be published")
    return body


def _without_what_no_event_takes(id: str, body: KickoffCompleted) -> KickoffCompleted:
    """The body without inputs that are too large, and without JSON outputs that are nested too deep."""
    if len(json.dumps(body.inputs, ensure_ascii=False, default=str).encode("utf-8", "replace")) > INPUTS_BYTES:
        log.warning("event %s is published without its inputs: they have over %d bytes as JSON", id, INPUTS_BYTES)
        body = body.model_copy(update={"truncated": True, "inputs": {}})
    if not _has_too_deep(body):
        return body
    log.warning("event %s is published without its JSON outputs: they have over %d levels", id, _LEVELS)
    inputs = {} if is_deeper(body.inputs, _LEVELS) else body.inputs
    tasks = [task.model_copy(update={"json_": None}) for task in body.tasks]
    return body.model_copy(update={"truncated": True, "json_": None, "inputs": inputs, "tasks": tasks})


def _has_too_deep(body: KickoffCompleted) -> bool:
    return any(is_deeper(value, _LEVELS) for value in (body.inputs, body.json_, *(task.json_ for task in body.tasks)))


def _without_extras(body: KickoffCompleted) -> KickoffCompleted:
    tasks = [task.model_copy(update={"json_": None}) for task in body.tasks]
    update: dict[str, object] = {"truncated": True, "json_": None, "inputs": {}, "tasks": tasks}
    if isinstance(body, KickoffFailed):
        update["error"] = body.error.model_copy(update={"message": body.error.message[:ERROR_CHARACTERS]})
    return body.model_copy(update=update)


def _shortened(task: TaskOutput, longest: int) -> TaskOutput:
    return task.model_copy(update={"raw": task.raw[:longest]})
