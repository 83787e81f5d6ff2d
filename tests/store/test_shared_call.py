"""One run serves all callers that wait for it, and none that asked later."""

from __future__ import annotations

import asyncio

import pytest
from crewmem_store.service.shared_call import SharedCall


class Counted:
    def __init__(self) -> None:
        self.runs, self.free = 0, asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        mine = self.runs
        await self.free.wait()
        return mine


async def test_callers_at_the_same_time_share_a_run_and_later_ones_get_the_next() -> None:
    counted = Counted()
    call = SharedCall(counted)
    first = [asyncio.create_task(call()) for _ in range(5)]
    while not counted.runs:
        await asyncio.sleep(0)
    later = [asyncio.create_task(call()) for _ in range(5)]
    await asyncio.sleep(0)
    counted.free.set()
    assert await asyncio.gather(*first) == [1] * 5
    assert await asyncio.gather(*later) == [2] * 5


async def test_a_caller_that_goes_takes_the_run_from_no_other() -> None:
    counted = Counted()
    call = SharedCall(counted)
    gone, stays = asyncio.create_task(call()), asyncio.create_task(call())
    while not counted.runs:
        await asyncio.sleep(0)
    gone.cancel()
    counted.free.set()
    assert await stays == 1


async def test_an_error_reaches_every_caller_and_the_next_run_is_another() -> None:
    answers = iter([ValueError("first"), None])

    async def fails() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "well"

    call = SharedCall(fails)
    assert [type(one) for one in await asyncio.gather(call(), call(), return_exceptions=True)] == [ValueError] * 2
    assert await call() == "well"
    with pytest.raises(RuntimeError):  # StopIteration inside a coroutine: there is no third answer
        await call()
