"""LLM summaries are added afterwards; an endpoint that is slow, broken or away delays nothing and loses nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from consumers.fakes import FakePipeline, partition_log, record
from crewmem_consumers.errors import LlmRefused, LlmUnavailable
from crewmem_consumers.health import PartitionStatus
from crewmem_consumers.llm import LlmClient
from crewmem_consumers.partition_worker import Limits, Opened, PartitionWorker
from crewmem_consumers.summaries import Summaries, Summariser
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import MemoryRow
from crewmem_store.service.server import served
from crewmem_store.store import PartitionStore
from fastapi import Response
from support.awaiting import until
from support.llm_endpoint import Endpoint
from support.logged import START

LONG = "The Acme plan costs 49 dollars a seat. " * 30


@asynccontextmanager
async def asking(endpoint: Endpoint, *, timeout_seconds: float = 30.0) -> AsyncIterator[LlmClient]:
    async with served(endpoint.app(), host="127.0.0.1", port=0) as port:
        client = LlmClient(
            base_url=f"http://127.0.0.1:{port}/v1", model="small", api_key="secret", timeout_seconds=timeout_seconds
        )
        try:
            yield client
        finally:
            if endpoint.hold is not None:
                endpoint.hold.set()
            await client.close()


@dataclass
class Partition:
    worker: PartitionWorker
    store: PartitionStore
    memories: MemoryStore
    pipeline: FakePipeline

    def summaries(self) -> dict[str, str | None]:
        return {row.event_id: row.summary for row in self.memories.reader("g1").rows(["default/s"], partitions=[0]).rows}


@asynccontextmanager
async def partition(
    client: LlmClient, *contents: str, elsewhere: Callable[[str], Iterable[MemoryRow]] = lambda id: ()
) -> AsyncIterator[Partition]:
    """A worker whose partition holds a memory for each content, with its summaries being worked off."""
    memories = MemoryStore()
    memories.open(namespace="crewmem")
    store = memories.partition("g1", 0, dimensions=8)
    store.commit(rows=[_row(number, content) for number, content in enumerate(contents)], updates=[], ledger=[])
    pipeline = FakePipeline()
    ready: list[int] = []

    worker = PartitionWorker(
        partition=0,
        open_partition=lambda: Opened(pipeline, store),
        log=partition_log(),
        status=PartitionStatus(generation="g1", partition=0),
        limits=Limits(batch_wait_seconds=0.0),
        on_ready=ready.append,
    )
    worker.start()
    await until(lambda: ready, what="the worker is ready")
    summaries = Summaries(worker=worker, summariser=Summariser(client), elsewhere=elsewhere, poll_seconds=0.05)
    summaries.start()
    try:
        yield Partition(worker, store, memories, pipeline)
    finally:
        await summaries.stop()
        await worker.stop()


def _row(number: int, content: str) -> MemoryRow:
    return MemoryRow(
        id=f"0-{number}", scope="default/s", event_id=f"e{number}", span="content", offset=number, created_at=START,
        content=content, text=f"(2026-01-02): {content[:100]}", summariser="extract-1",
    )  # fmt: skip


async def test_a_long_memory_gets_the_models_summary() -> None:
    endpoint = Endpoint()
    async with asking(endpoint) as client, partition(client, LONG) as made:
        await until(lambda: made.summaries()["e0"], what="the summary")
        assert made.summaries()["e0"] == f"Summary of {len(LONG)} characters."
        await until(lambda: made.worker.status.llm_backlog == 0, what="an empty backlog")
    assert endpoint.bodies[0]["model"] == "small"
    assert endpoint.keys[0] == "Bearer secret"


async def test_a_short_memory_is_its_own_summary_and_no_model_is_asked() -> None:
    endpoint = Endpoint()
    async with asking(endpoint) as client, partition(client, "Acme costs 49 dollars.") as made:
        await until(lambda: made.summaries()["e0"] == "Acme costs 49 dollars.", what="the summary")
    assert endpoint.asked == []


async def test_memories_are_processed_while_the_endpoint_hangs() -> None:
    endpoint = Endpoint(hold=asyncio.Event())
    async with asking(endpoint) as client, partition(client, LONG) as made:
        await until(lambda: endpoint.asked, what="the endpoint is asked")
        made.worker.offer([record(offset) for offset in range(20)])
        await until(lambda: made.worker.status.position == 20, what="20 records beside a hanging endpoint")
        assert made.worker.status.llm_backlog == 1
        assert made.summaries()["e0"] is None
        assert endpoint.hold is not None
        endpoint.hold.set()
        await until(lambda: made.summaries()["e0"], what="the summary, once it answers")


async def test_an_endpoint_that_times_out_leaves_a_backlog_that_is_worked_off_when_it_recovers() -> None:
    endpoint = Endpoint(hold=asyncio.Event())
    async with asking(endpoint, timeout_seconds=0.2) as client, partition(client, LONG, LONG + "More.") as made:
        await until(lambda: made.worker.status.llm_waits_for, what="health says that the endpoint is away")
        assert "LlmUnavailable" in (made.worker.status.llm_waits_for or "")
        assert made.worker.status.llm_backlog == 2
        assert not made.worker.status.waits, "nothing else waits for it"
        assert endpoint.hold is not None
        endpoint.hold.set()
        await until(lambda: all(made.summaries().values()), what="both summaries")
        await until(lambda: made.worker.status.llm_waits_for is None, what="health is well again")


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: Response("overloaded", status_code=503),
        lambda text: Response("slow down", status_code=429),
        lambda text: Response("who are you", status_code=401),
        lambda text: Response("not json at all"),
        lambda text: Response('{"choices": []}', media_type="application/json"),
        lambda text: "",
    ],
    ids=["503", "429", "401", "no JSON", "no choice", "an empty answer"],
)
async def test_an_endpoint_that_answers_wrongly_is_asked_again(broken: Callable[[str], Any]) -> None:
    endpoint = Endpoint(behave=broken)
    async with asking(endpoint) as client, partition(client, LONG) as made:
        await until(lambda: made.worker.status.llm_waits_for, what="health says what is wrong")
        assert made.summaries()["e0"] is None
        endpoint.behave = lambda text: "Well again."
        await until(lambda: made.summaries()["e0"] == "Well again.", what="the summary")


async def test_a_text_too_long_for_the_model_is_cut_until_it_fits() -> None:
    def small_window(text: str) -> Any:
        return Response("context too long", status_code=400) if len(text) > 2_000 else "The beginning."

    async with asking(Endpoint(behave=small_window)) as client, partition(client, LONG * 10) as made:
        await until(lambda: made.summaries()["e0"] == "The beginning.", what="a summary of the beginning")


async def test_a_text_that_the_model_never_takes_holds_up_no_other() -> None:
    def picky(text: str) -> Any:
        return Response("no", status_code=400) if "secret sauce" in text else "Fine."

    async with asking(Endpoint(behave=picky)) as client, partition(client, "secret sauce " * 100, LONG) as made:
        await until(lambda: made.summaries()["e1"] == "Fine.", what="the other summary")
        await until(lambda: made.worker.status.llm_backlog == 0, what="an empty backlog")
        assert made.summaries()["e0"] == ""


async def test_what_was_answered_before_the_endpoint_went_away_is_kept() -> None:
    endpoint = Endpoint()
    endpoint.behave = lambda text: "First." if len(endpoint.asked) == 1 else Response("gone", status_code=502)
    async with asking(endpoint) as client, partition(client, LONG, LONG + "More.") as made:
        await until(lambda: made.summaries()["e0"] == "First.", what="the first summary")
        await until(lambda: made.worker.status.llm_backlog == 1, what="a backlog of one")


async def test_a_summary_of_the_same_text_in_another_generation_is_taken_over() -> None:
    endpoint = Endpoint()
    async with asking(endpoint) as client:
        fingerprint = Summariser(client).fingerprint
        others = {
            "0-0": replace(_row(0, LONG), summary="Made before.", summariser=fingerprint),
            "0-1": replace(_row(1, "Another text. " * 50), summary="Of another text.", summariser=fingerprint),
            "0-2": replace(_row(2, LONG), summary="By another model.", summariser="llm-other"),
        }
        async with partition(client, LONG, LONG, LONG, elsewhere=lambda id: [others[id]]) as made:
            await until(lambda: all(made.summaries().values()), what="every summary")
            assert made.summaries()["e0"] == "Made before."
    assert len(endpoint.asked) == 2


async def test_errors_of_the_http_library_are_crewmems() -> None:
    nobody = LlmClient(base_url="http://127.0.0.1:9/v1", model="m", api_key=None, timeout_seconds=5)
    with pytest.raises(LlmUnavailable, match=r"127\.0\.0\.1:9"):
        await nobody.complete(system="s", user="u")
    await nobody.close()
    async with asking(Endpoint(behave=lambda text: Response("bad", status_code=422))) as client:
        with pytest.raises(LlmRefused):
            await client.complete(system="s", user="u")


def test_without_an_endpoint_there_is_no_client() -> None:
    assert LlmClient.of(ConsumerSettings()) is None


@pytest.mark.llm
async def test_a_real_model_server_summarises() -> None:
    client = LlmClient(
        base_url=os.environ["OPENAI_BASE_URL"],
        model=os.environ.get("OPENAI_MODEL_NAME", "smollm2-135m-instruct"),
        api_key=os.environ.get("OPENAI_API_KEY", "any"),
        timeout_seconds=120,
    )
    text = (
        "The competitor analysis shows three vendors. Acme charges 49 dollars a seat and has no audit log. Globex raised its "
        "price to 79 dollars in March and supports single sign-on. Initech is free for five seats, then 20 dollars a seat. "
    ) * 3
    try:
        async with partition(client, text) as made:
            await until(lambda: made.summaries()["e0"], what="a summary of the real model", seconds=150)
            assert 0 < len(made.summaries()["e0"] or "") < 3_000
    finally:
        await client.close()
