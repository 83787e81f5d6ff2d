"""`/health/live`, `/health/ready` and `/metrics`: for probes and monitors, without a key."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import partial

from crewmem_producers.errors import CrewmemError
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from crewmem_store.service import progress, responses
from crewmem_store.service.answers import answer
from crewmem_store.service.log_behind import REMEDY, partitions_behind
from crewmem_store.service.metrics import CONTENT_TYPE
from crewmem_store.service.parts import Parts, View
from crewmem_store.service.shared_call import SharedCall
from crewmem_store.service.stalled import stalled

router = APIRouter(tags=["operation"])
OK = "ok"


class Probes:
    """What probes ask, computed once for all that ask at the same time: they need no key, so anybody may ask often."""

    def __init__(self, parts: Parts) -> None:
        self.ready = SharedCall(partial(_ready, parts))
        self.metrics = SharedCall(partial(_metrics, parts))


def _probes(request: Request) -> Probes:
    probes = request.app.state.probes
    assert isinstance(probes, Probes)
    return probes


@router.get("/health/live", response_model=responses.Live)
async def live() -> Response:
    """The process answers."""
    return answer({"status": "live"})


@router.get(
    "/health/ready", response_model=responses.Ready, responses={503: {"model": responses.NotReady, "description": "Not ready"}}
)
async def ready(request: Request) -> Response:
    """Whether recalls can be answered: 200, or 503 with what is away.

    A generation that does not answer now is only mentioned when its embedder cannot be had. Partitions that stand still are
    `stalled`, and those of which files of the store are gone `damaged`: neither is a 503 while another partition answers, as
    no other service would know more. Nor are settings of Kafka's topics by which memory will be lost (`topics`), or a log that
    ends before what the memory was made from (`checks.log`): recalls are answered from what was remembered.
    """
    return await _probes(request).ready()


async def _ready(parts: Parts) -> Response:
    ends: dict[int, int] = {}

    async def look_at_log() -> None:
        ends.update(await parts.log.end())

    checks = {"log": await _said(look_at_log()), "store": await _said(_look(parts))}
    bad = [f"{name}: {said}" for name, said in checks.items() if said != OK]
    stalled_partitions = await _stalled(parts, ends)
    if checks["log"] == OK and (behind := await _behind(parts)):
        checks["log"] = f"partitions {', '.join(map(str, behind))}: {REMEDY}"
    damaged, all_damaged = await _damaged(parts)  # after it: reading the ledgers may meet some
    if damaged and checks["store"] == OK:
        checks["store"] = "; ".join(f"partition {partition}: {said}" for partition, said in damaged.items())
        bad += [f"store: {checks['store']}"] if all_damaged else []
    checks |= {f"embedder of {name}": said for name, said in parts.embedders.failed.items()}
    topics = list((parts.topics.problems if parts.topics else None) or ())
    if bad:
        problem = {"status": "not ready", "error": "unavailable", "message": "; ".join(bad), "checks": checks}
        return answer(problem, status=503)
    return answer(
        {"status": "ready", "checks": checks, "stalled": stalled_partitions, "damaged": sorted(damaged), "topics": topics}
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus text. What cannot be read now is left out, and `/health/ready` says why."""
    return await _probes(request).metrics()


async def _metrics(parts: Parts) -> Response:
    try:
        view = await parts.view()
        measured = await progress.measure(parts.log, view.reader, now=parts.clock())
    except CrewmemError:
        measured = []
    stalled_partitions = await _stalled(parts, {one.partition: one.log_end for one in measured})
    body = await run_in_threadpool(
        parts.metrics.text,
        measured,
        outbox_events=parts.producers.waiting(),
        stalled_partitions=len(stalled_partitions) if measured else None,
        damaged_partitions=len((await _damaged(parts))[0]),
        topic_problems=parts.topics.problems if parts.topics else None,
        partitions_of_another_log=len(await _behind(parts)),
    )
    return Response(body, media_type=CONTENT_TYPE)


async def _stalled(parts: Parts, ends: Mapping[int, int]) -> list[int]:
    """`ends` are the log's. Empty where log or store is away: that is said, and it is no partition that stands still."""
    try:
        return await stalled(parts, await parts.view(), ends=ends)
    except CrewmemError:
        parts.stalls.look({})
        return []


async def _behind(parts: Parts) -> list[int]:
    """Partitions of which the log is another one than the memory was made from. Empty where that cannot be known now."""
    try:
        view = await parts.view()
        return await partitions_behind(view.reader, parts.ends, range(view.generation.partitions))
    except CrewmemError:
        return []


async def _damaged(parts: Parts) -> tuple[dict[int, str], bool]:
    """What is damaged of each partition of the generation that answers, and whether that is every one. Nothing where that
    cannot be known now: then the store is away, and that is said."""
    try:
        view = await parts.view()
        found = dict(await run_in_threadpool(view.reader.damage, range(view.generation.partitions)))
    except CrewmemError:
        return {}, False
    return found, len(found) == view.generation.partitions


async def _look(parts: Parts) -> None:
    view: View = await parts.view()
    await run_in_threadpool(view.reader.last_offset, 0)


async def _said(check: Awaitable[object]) -> str:
    try:
        await check
    except CrewmemError as error:
        return str(error)
    return OK
