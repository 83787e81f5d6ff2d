"""`GET /v1/accounting`: every log position of the live generations and what became of it, in numbers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from crewmem_store import generations
from crewmem_store.accounting import account
from crewmem_store.service import responses
from crewmem_store.service.answers import answer
from crewmem_store.service.auth import Admin
from crewmem_store.service.parts import Parts, parts_of

router = APIRouter(tags=["operation"])


@router.get("/v1/accounting", response_model=responses.AccountingAnswer, responses=responses.errors())
async def accounting(key: Admin, parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """Where the log starts and ends, how many of its records have which outcome, and whether the sum closes, by partition."""
    active = generations.active(parts.registry).name
    found = {}
    for generation in generations.live(parts.registry):
        reader = await run_in_threadpool(parts.readers.of, generation.name)
        found[generation.name] = (await account(parts.log, reader, generation, now=parts.clock())).json()
    return answer(found[active] | {"generations": [one | {"active": name == active} for name, one in found.items()]})
