"""`GET /v1/memory/list`: what a session holds now, the newest first, a page at a time."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated

from crewmem_producers.privacy import visible
from fastapi import APIRouter, Depends, Query, Response

from crewmem_store.keys import Key
from crewmem_store.search import current
from crewmem_store.service import responses, sessions
from crewmem_store.service.answers import answer, memory_json
from crewmem_store.service.auth import Reader
from crewmem_store.service.parts import Parts, View, parts_of
from crewmem_store.service.requests import ListQuery

router = APIRouter(tags=["memory"])


@router.get("/v1/memory/list", response_model=responses.ListAnswer, responses=responses.errors(400))
async def list_memories(
    asked: Annotated[ListQuery, Query()], key: Reader, parts: Annotated[Parts, Depends(parts_of)]
) -> Response:
    """The memories that a recall could give, neither expired nor superseded; `total` counts all of them. Private memories of
    others are left out."""
    return await parts.reads.run(key, partial(_page, asked, key, await parts.view(), parts.clock()))


def _page(asked: ListQuery, key: Key, view: View, now: datetime) -> Response:
    rows = view.rows(sessions.readable(key, asked.session, view.reader)).rows
    shown = [
        row
        for row in rows
        if current(row, now=now) and visible(row.metadata, source=asked.source, include_private=asked.include_private)
    ]
    found = sorted(shown, key=lambda row: (row.created_at, row.offset, row.id))
    page = found[::-1][asked.offset : asked.offset + asked.limit]
    return answer({"memories": [memory_json(row) for row in page], "total": len(found)})
