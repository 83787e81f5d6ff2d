"""A thread, a process or a generator that lost the session of its block is refused, and never served from another one."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import multiprocessing
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import crewmem
import pytest
from crewmem import Memstore, RememberTool
from crewmem.errors import SessionMissing
from crewmem.session_context import open_places
from crewmem.sessions import resolve_call
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import FakeService


def written() -> str:
    """The session of a call from here, that of the process being `p`."""
    return resolve_call(None, default="p").write


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    gc.collect()
    assert open_places() == [] and written() == "p"


def test_a_thread_without_a_session_is_refused_while_a_block_is_open(service: FakeService) -> None:
    memstore = Memstore()
    with crewmem.session("A"):
        with pytest.raises(SessionMissing, match="propagate"):
            in_thread(memstore.remember, "A's secret")
        with pytest.raises(SessionMissing, match="propagate"):
            in_thread(memstore.recall, "secret")
        with pytest.raises(SessionMissing, match="propagate"):
            in_thread(RememberTool().run, "A's secret")
        in_thread(memstore.remember, "to a session that is named", "B")
    in_thread(memstore.remember, "after the block")
    assert [body["session"] for body in service.remembered()] == ["B", "shared"] and service.recalls() == []


def test_a_kickoff_in_such_a_thread_is_refused_unless_its_session_is_named(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMEM_SESSION", "the process's")
    crewmem.install()
    llm = ScriptedLLM()
    with crewmem.session("A"):
        with pytest.raises(SessionMissing, match="propagate"):
            in_thread(two_agent_crew(llm).kickoff, {"topic": "x"})
        assert llm.prompts == []
        in_thread(crewmem.propagate(two_agent_crew(llm).kickoff), {"topic": "x"})
        in_thread(two_agent_crew(llm).kickoff, {"topic": "x", "crewmem_session": "inputs"})
        in_thread(crewmem.MemoryCrew(two_agent_crew(llm), session="argument").kickoff, {"topic": "x"})
    in_thread(two_agent_crew(llm).kickoff, {"topic": "x"})
    assert [event["session"] for event in service.kickoffs()] == ["A", "inputs", "argument", "the process's"]


def test_a_thread_whose_session_is_the_one_that_is_open_is_not_refused() -> None:
    with crewmem.session("p"):
        assert in_thread(written) == "p"


@pytest.mark.parametrize("session", [crewmem.AGENT_ROLE, lambda crew, inputs: "p", ["p", "shared"]])
def test_a_block_whose_session_could_be_another_refuses_too(session: Any) -> None:
    with crewmem.session(session), pytest.raises(SessionMissing):
        in_thread(written)


def test_a_call_in_a_block_of_a_function_is_refused() -> None:
    with crewmem.session(lambda crew, inputs: "A"), pytest.raises(SessionMissing, match="function of a crew"):
        written()


def test_propagate_carries_the_session_into_every_thread_at_once() -> None:
    barrier = threading.Barrier(4)

    def together() -> str:
        barrier.wait(60)
        return written()

    with crewmem.session(["A", "shared"]):
        carried = crewmem.propagate(together)
    with ThreadPoolExecutor(4) as pool, crewmem.session("B"):
        assert [future.result() for future in [pool.submit(carried) for _ in range(4)]] == ["A"] * 4
        done: list[str] = []
        thread = threading.Thread(target=crewmem.propagate(lambda: done.append(written())))
        thread.start()
        thread.join()
    assert done == ["B"]


def test_propagate_carries_a_coroutine_function_and_no_session_where_there_is_none() -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return written()

    with crewmem.session("A"):
        carried = crewmem.propagate(later)
    nothing = crewmem.propagate(written)
    assert in_thread(lambda: asyncio.run(carried())) == "A"
    assert nothing() == "p"
    with crewmem.session("A"), pytest.raises(SessionMissing):
        nothing()
    with pytest.raises(TypeError, match="generator"):
        crewmem.propagate(items)


def test_the_context_of_the_caller_carries_the_session_too() -> None:
    with crewmem.session("A"):
        assert in_thread(contextvars.copy_context().run, written) == "A"


def test_asyncio_inherits_it_and_keeps_it_after_the_block() -> None:
    async def main() -> list[str]:
        go = asyncio.Event()

        async def background() -> str:
            await go.wait()
            return written()

        with crewmem.session("A"):
            inside = await asyncio.to_thread(written)
            task = asyncio.create_task(background())
        go.set()
        return [inside, await task, written()]

    assert asyncio.run(main()) == ["A", "A", "p"]


def test_concurrent_tasks_have_each_their_own() -> None:
    async def one(name: str) -> str:
        with crewmem.session(name):
            await asyncio.sleep(0)
            return await asyncio.to_thread(written)

    async def main() -> list[str]:
        return await asyncio.gather(*(one(f"customer {number}") for number in range(20)))

    assert asyncio.run(main()) == [f"customer {number}" for number in range(20)]


def test_a_block_that_ends_with_an_error_is_closed() -> None:
    with pytest.raises(ZeroDivisionError), crewmem.session("A"):
        1 / 0  # noqa: B018
    assert in_thread(written) == "p"


def items() -> Iterator[str]:
    with crewmem.session("A"):
        yield written()
        yield written()


def test_a_generator_that_is_finished_closed_or_dropped_leaves_no_block() -> None:
    assert list(items()) == ["A", "A"]
    for end in (lambda made: made.close(), lambda made: None):
        made = items()
        next(made)
        end(made)
        del made
        assert written() == "p"


def test_generators_that_end_in_another_order_than_they_began_leave_no_block() -> None:
    first, second = items(), items()
    next(first), next(second)
    first.close()
    second.close()
    assert written() == "p"


def test_a_generator_that_goes_on_in_another_context_is_refused_there() -> None:
    """As Starlette reads a streamed response: each step in a copy of the context."""
    made = items()
    assert contextvars.copy_context().run(next, made) == "A"
    with pytest.raises(SessionMissing):
        contextvars.copy_context().run(next, made)
    made.close()


def test_a_context_whose_block_ended_elsewhere_is_refused() -> None:
    here, made = contextvars.copy_context(), items()
    here.run(next, made)
    contextvars.copy_context().run(made.close)
    with pytest.raises(SessionMissing, match="another context"):
        here.run(written)


def test_an_async_generator_that_is_dropped_leaves_no_block_open() -> None:
    async def rows() -> AsyncIterator[int]:
        with crewmem.session("A"):
            yield 1
            yield 2

    async def main() -> None:
        async for _ in rows():
            break

    asyncio.run(main())
    assert open_places() == []


def tell(queue: Any) -> None:
    try:
        queue.put(written())
    except SessionMissing as error:
        queue.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_of_a_block_is_refused_and_another_thread_s_block_is_not_the_child_s() -> None:
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()

    def child(function: Callable[..., None]) -> str:
        process = fork.Process(target=function, args=(queue,))
        process.start()
        found = str(queue.get())
        process.join()
        return found

    with crewmem.session("A"):
        assert "forked" in child(tell)
        assert "this thread has no session" in child(lambda queue: in_thread(tell, queue))
        assert child(crewmem.propagate(tell)) == "A"
        assert in_thread(child, tell) == "p", "the block is that of a thread which the child does not have"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_works_for_each_session_that_is_propagated(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        for name in ("A", "B"):
            with crewmem.session(name):
                assert pool.submit(crewmem.propagate(written)).result() == name
        if method == "fork":  # its process was made inside the block of A
            with crewmem.session("B"), pytest.raises(SessionMissing, match="forked"):
                pool.submit(written).result()
