"""`GET /v1/accounting`: every log position of the active generation and what became of it, in numbers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from crewmem_store.service import progress, shapes
from crewmem_store.service.answers import answer
from crewmem_store.service.auth import Admin
from crewmem_store.service.parts import Parts, parts_of

router = APIRouter(tags=["operation"])


@router.get("/v1/accounting", response_model=shapes.Account, responses=shapes.ERRORS)
async def accounting(key: Admin, parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """Where each partition of the log starts and ends, and how many of its records have which outcome."""
    view = await parts.view()
    measured = await progress.measure(parts.log, view.reader, now=parts.clock())
    return answer({"generation": view.generation.name, "partitions": [one.json() for one in measured]})
