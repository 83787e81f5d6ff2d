"""`DELETE /v1/memory/forget/{id}`: forgets a memory, or all memories of an event, with everything that repeats them.

An id of another tenant, or of a session that the key may not use, is unknown: that it exists is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Any

from crewmem_producers.events import Event, MemoryForgotten, SpanRef
from crewmem_producers.freshness import Mark, format_token
from crewmem_producers.limits import FORGOTTEN_SPANS, MEMORY_ID_CHARACTERS
from crewmem_producers.names import Scope, memory_id, partition_of
from fastapi import APIRouter, Depends, Path, Query, Response

from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.rows import MemoryRow
from crewmem_store.service import freshness, responses
from crewmem_store.service.answers import answer
from crewmem_store.service.auth import Writer
from crewmem_store.service.parts import Parts, View, parts_of
from crewmem_store.service.publish import publish
from crewmem_store.service.requests import ForgetQuery
from crewmem_store.service.trace import Trace
from crewmem_store.store import StoreReader

router = APIRouter(tags=["memory"])


@router.delete(
    "/v1/memory/forget/{id:path}",
    response_model=responses.Forgotten,
    responses={202: {"model": responses.Forgotten, "description": "Forgotten soon"}, **responses.errors(400, 404, 504)},
)
async def forget(
    id: Annotated[str, Path(description="The id of a memory, or of an event for all of its memories.")],
    asked: Annotated[ForgetQuery, Query()],
    key: Writer,
    trace: Trace,
    parts: Annotated[Parts, Depends(parts_of)],
) -> Response:
    """`id` is a memory's or an event's. 200 once nothing of it can be recalled, 202 with a token when that takes longer.

    404 says that there is nothing to forget; 504, that it is not known yet: what was published last is not in the view.
    """
    left = freshness.countdown(asked.wait_seconds)
    view = await parts.view()
    named = await _named(id, key=key, parts=parts, view=view, left=left)
    if not named:
        raise RequestRefused(404, "not_found", "no memory and no event of this id can be forgotten with this key")
    marks = await _append_all(parts, named, key=key, traceparent=trace)
    content: dict[str, Any] = {"deleted": True, "id": id}
    if await freshness.wait(view.watch, marks, seconds=left()):
        missed = await parts.reads.run(key, partial(_missed, view, named))
        marks = await _append_all(parts, missed, key=key, traceparent=trace)
        if await freshness.wait(view.watch, marks, seconds=left()):
            return answer(content)
    return answer({**content, "deleted": False, "token": format_token(marks)}, status=202)


Named = dict[Scope, list[SpanRef]]
"""What is to be forgotten: the spans, by scope."""


async def _append_all(parts: Parts, named: Named, *, key: Key, traceparent: str | None) -> list[Mark]:
    """An event a scope; several where it names more than one event takes."""
    return [
        await _append(parts, scope, spans[start : start + FORGOTTEN_SPANS], key=key, traceparent=traceparent)
        for scope, spans in named.items()
        for start in range(0, len(spans), FORGOTTEN_SPANS)
    ]


async def _append(parts: Parts, scope: Scope, spans: list[SpanRef], *, key: Key, traceparent: str | None) -> Mark:
    body, source = MemoryForgotten(spans=spans), parts.settings.source
    event = Event(body=body, scope=scope, time=parts.clock(), source=source, traceparent=traceparent)
    return (await publish(parts, event, key=key, size=0, always=True)).mark


async def _named(id: str, *, key: Key, parts: Parts, view: View, left: Callable[[], float]) -> Named:
    """What the id means; when it is not in the view, then in the view as of the log's end now. Raises RequestRefused (504)."""
    if len(id) > MEMORY_ID_CHARACTERS:
        return {}  # no memory and no event has such an id
    named = await parts.reads.run(key, partial(_find, view.reader, id, key))
    if named:
        return named
    ends = await parts.ends.of(range(view.generation.partitions))
    fresh = await freshness.wait(view.watch, ends, seconds=left())
    named = await parts.reads.run(key, partial(_find, view.reader, id, key))
    if not named and not fresh:  # a 404 here would leave to be remembered what somebody wants forgotten
        message = "no memory and no event of this id is in the view, which did not get to the log's end in time; ask again"
        raise RequestRefused(504, "not_fresh", message)
    return named


def _find(reader: StoreReader, id: str, key: Key) -> Named:
    row = reader.get(id)
    rows = [row] if row is not None else reader.by_event(id)
    named: dict[Scope, dict[tuple[str, str], SpanRef]] = {}
    for one in _with_repeats(reader, (row for row in rows if _may(key, row))):
        refs = named.setdefault(Scope.parse(one.scope or ""), {})
        refs[(one.event_id, one.span)] = SpanRef(event_id=one.event_id, span=one.span)
    return {scope: list(refs.values()) for scope, refs in named.items()}


def _missed(view: View, named: Named) -> Named:
    """Repeats that reached the log between the look-up and the forget. The log must name them too: a replay may not count
    them as repeats. What comes after the forget repeats nothing."""
    missed: Named = {}
    for scope, refs in named.items():
        partition, known = partition_of(scope.key, view.generation.partitions), {(ref.event_id, ref.span) for ref in refs}
        for ref in refs:
            for row in view.reader.duplicates(memory_id(partition, str(scope), ref.event_id, ref.span)):
                if (row.event_id, row.span) not in known:
                    missed.setdefault(scope, []).append(SpanRef(event_id=row.event_id, span=row.span))
    return missed


def _may(key: Key, row: MemoryRow) -> bool:
    """Whether the key may write to the row's session. A row of an erased session has no session any more."""
    scope = Scope.parse(row.scope) if row.scope else None
    return scope is not None and scope.tenant == key.tenant and key.allows(scope.session, Right.WRITE)


def _with_repeats(reader: StoreReader, rows: Iterable[MemoryRow]) -> Sequence[MemoryRow]:
    """The memories that have text, and every row counted as a repeat of one of them. A repeat stands for what it repeats:
    else the same thing would be recalled again."""
    found: list[MemoryRow] = []
    for row in rows:
        survivor = reader.get(row.duplicate_of) if row.duplicate_of else row
        if survivor is not None and survivor.text is not None:
            found += [survivor, *reader.duplicates(survivor.id)]
    return found
