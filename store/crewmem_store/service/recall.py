"""`GET` and `POST /v1/memory/recall`: what the memory knows of a question. Nothing is written."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Annotated, Any

from crewmem_producers.freshness import LATEST
from crewmem_producers.names import ALL_SESSIONS, SHARED
from fastapi import APIRouter, Depends, Query, Response

from crewmem_store import context, search
from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.rows import Vector
from crewmem_store.search import Filters, Hit, Question
from crewmem_store.service import freshness, responses, sessions
from crewmem_store.service.answers import answer, memory_json
from crewmem_store.service.auth import Reader
from crewmem_store.service.log_behind import REMEDY, partitions_behind
from crewmem_store.service.parts import Parts, View, parts_of
from crewmem_store.service.requests import RecallQuery, RecallRequest
from crewmem_store.store import Rows

router = APIRouter(tags=["memory"])
_DOCUMENTED: dict[str, Any] = {"response_model": responses.RecallAnswer, "responses": responses.errors(400, 504)}


@router.get("/v1/memory/recall", **_DOCUMENTED)
async def recall_get(
    asked: Annotated[RecallQuery, Query()], key: Reader, parts: Annotated[Parts, Depends(parts_of)]
) -> Response:
    """The memories that answer `q`, best first. `score` is a cosine from 0 to 1."""
    return await recall(asked, key=key, parts=parts)


@router.post("/v1/memory/recall", **_DOCUMENTED)
async def recall_post(asked: RecallRequest, key: Reader, parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """The same as GET, with the question in the body, so that it stays out of access logs."""
    return await recall(asked, key=key, parts=parts)


async def recall(asked: RecallRequest, *, key: Key, parts: Parts) -> Response:
    """What both forms of the call do: one generation answers, as fresh as `after` asks, within what the key may read."""
    view = await parts.view()
    fresh = await _fresh(asked, key=key, parts=parts, view=view)
    began = perf_counter()
    response = await parts.reads.run(key, partial(_compute, asked, key, parts, view, fresh))
    parts.metrics.recall_seconds.observe(perf_counter() - began)
    return response


def _compute(asked: RecallRequest, key: Key, parts: Parts, view: View, fresh: bool | None) -> Response:
    """All that a recall computes, in one turn: the question is encoded while the rows are read."""
    now = parts.clock()
    reading = parts.reads.beside(partial(_rows, asked, key, view))
    try:
        vector = _embed(view, asked.q)
    finally:
        rows = reading.result()  # the turn ends when both have
    hits = search.recall(rows, _question(asked, vector, now), weights=parts.weights)
    content = _content(asked, hits, view=view, now=now)
    return answer(content if fresh is None else {**content, "fresh": fresh})


async def _fresh(asked: RecallRequest, *, key: Key, parts: Parts, view: View) -> bool | None:
    """Whether the view holds what `after` asks for; None when nothing was asked. Raises RequestRefused (504 not_fresh)."""
    if asked.after is None:
        return None
    partitions = _partitions(asked, key=key, view=view) if asked.after == LATEST else set()
    marks = await freshness.marks(
        asked.after, ends=parts.ends, log_partitions=view.generation.partitions, partitions=partitions
    )
    sees = await sessions.sees(key, asked.session, view.reader, parts.reads)
    fresh = await freshness.wait(view.watch, marks, seconds=asked.wait_seconds, sees=sees)
    if fresh and await partitions_behind(view.reader, parts.ends, partitions or {mark.partition for mark in marks}):
        if asked.strict:
            raise RequestRefused(504, "not_fresh", REMEDY)
        return False
    if asked.strict and not fresh:
        message = f"the view does not hold that after {asked.wait_seconds} s; ask again, or without `strict`"
        raise RequestRefused(504, "not_fresh", message)
    return fresh


def _partitions(asked: RecallRequest, *, key: Key, view: View) -> set[int]:
    """Where the sessions that are asked for lie; with `*` that is everywhere, since one may be new."""
    if asked.session and ALL_SESSIONS in asked.session:
        return set(range(view.generation.partitions))
    return {view.partition(sessions.allowed(key, session, Right.READ)) for session in asked.session or [SHARED]}


def _rows(asked: RecallRequest, key: Key, view: View) -> Rows:
    return view.rows(sessions.readable(key, asked.session, view.reader))


def _embed(view: View, text: str) -> Vector:
    vector: Vector = view.embedder.embed([text])[0]
    return vector


def _question(asked: RecallRequest, vector: Vector, now: datetime) -> Question:
    filters = Filters(
        crew=asked.crew, agent_role=asked.agent_role, kind=asked.kind, metadata=asked.metadata or {},
        since=asked.since, until=asked.until,
    )  # fmt: skip
    return Question(
        text=asked.q, vector=vector, now=now, top_k=asked.top_k, threshold=asked.threshold, as_of=asked.as_of, filters=filters,
        source=asked.source, include_private=asked.include_private,
    )  # fmt: skip


def _content(asked: RecallRequest, hits: list[Hit], *, view: View, now: datetime) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if asked.format == "context":
        made = context.block(hits, now=asked.as_of or now, max_tokens=asked.max_tokens, embedder=view.embedder)
        hits, extra = list(made.hits), {"context": made.text, "tokens": made.tokens}
    memories = [_memory(hit, explain=asked.explain) for hit in hits]
    return {"memories": memories, "count": len(memories), "query": asked.q, **extra}


def _memory(hit: Hit, *, explain: bool) -> dict[str, Any]:
    shown = {**memory_json(hit.row), "score": round(hit.score, 6)}
    if explain:
        shown["explain"] = {"rank": round(hit.rank, 6), **{name: round(value, 6) for name, value in hit.signals.items()}}
    return shown
