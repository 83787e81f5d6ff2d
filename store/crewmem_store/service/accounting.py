"""`GET /v1/accounting`: every log position of the live generations and what became of it, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from crewmem_store import generations
from crewmem_store.accounting import Account, account
from crewmem_store.keys import Right
from crewmem_store.service import responses
from crewmem_store.service.answers import answer
from crewmem_store.service.auth import Admin
from crewmem_store.service.parts import Parts, parts_of
from crewmem_store.store import StoreReader

router = APIRouter(tags=["operation"])


_ANSWER = responses.AccountingAnswer | responses.TenantAccounting


@router.get("/v1/accounting", response_model=_ANSWER, responses=responses.errors())
async def accounting(key: Admin, parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """Where the log starts and ends, how many of its records have which outcome, and whether the sum closes, by partition.

    A key with the right `operator` sees the whole deployment; with `admin` it sees how many events of its tenant have which
    outcome, and whether the sum closes.
    """
    active = generations.active(parts.registry).name
    found = {}
    for generation in generations.live(parts.registry):
        reader = await run_in_threadpool(parts.readers.of, generation.name)
        whole = await account(parts.log, reader, generation, now=parts.clock())
        if key.may(Right.OPERATOR):
            found[generation.name] = whole.json()
        else:
            found[generation.name] = await run_in_threadpool(_of_tenant, whole, reader, key.tenant)
    return answer(found[active] | {"generations": [one | {"active": name == active} for name, one in found.items()]})


def _of_tenant(whole: Account, reader: StoreReader, tenant: str) -> dict[str, Any]:
    """What the tenant may know of the account: nothing that other tenants' events change, but for whether it closes."""
    outcomes: Counter[str] = Counter()
    for one in whole.partitions:
        outcomes.update(reader.outcomes_of(one.partition, tenant))
    return {
        "generation": whole.generation, "closes": whole.closes, "tenant": tenant, "processed": outcomes.total(),
        "outcomes": dict(outcomes),
    }  # fmt: skip
