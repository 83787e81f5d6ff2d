"""Turns of tenants: counted, never timed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.service.fair_pool import FairPool
from support.awaiting import until

HANG_SECONDS = 60


def key(tenant: str, name: str = "k") -> Key:
    return Key(
        hash=f"{tenant}-{name}",
        tenant=tenant,
        name=name,
        sessions=("*",),
        rights=(Right.READ,),
        created_at="2026-12-01",
    )


class Held:
    """Work that notes its name when it runs. The first piece holds the only thread until `free` is set."""

    def __init__(self) -> None:
        self.ran, self.free = list[str](), threading.Event()

    def hold(self) -> None:
        self.ran.append("hold")
        assert self.free.wait(HANG_SECONDS)

    def piece(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.ran.append(name)
            return name

        return work


async def held(pool: FairPool, work: Held) -> asyncio.Task[None]:
    call = asyncio.create_task(pool.run(key("first"), work.hold))
    await until(lambda: work.ran, what="the first piece runs")
    return call


async def test_another_tenants_call_waits_for_one_piece_and_not_for_the_whole_queue() -> None:
    pool, work = FairPool(threads=1, queue=500, what="recall"), Held()
    calls = [await held(pool, work)]
    many = [asyncio.create_task(pool.run(key("abuser"), work.piece(f"a{n}"))) for n in range(256)]
    await asyncio.sleep(0)
    other = [asyncio.create_task(pool.run(key("other"), work.piece(f"o{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    work.free.set()
    assert await asyncio.gather(*other) == ["o0", "o1", "o2"]
    await asyncio.gather(*calls, *many)
    assert work.ran[:7] == ["hold", "a0", "o0", "a1", "o1", "a2", "o2"]


async def test_within_a_tenant_turns_go_round_its_keys_and_of_one_key_first_come_first_served() -> None:
    pool, work = FairPool(threads=1, queue=500, what="recall"), Held()
    calls = [await held(pool, work)]
    calls += [asyncio.create_task(pool.run(key("acme", "one"), work.piece(f"one{n}"))) for n in range(3)]
    calls += [asyncio.create_task(pool.run(key("acme", "two"), work.piece("two")))]
    await asyncio.sleep(0)
    work.free.set()
    await asyncio.gather(*calls)
    assert work.ran == ["hold", "one0", "two", "one1", "one2"]


async def test_a_tenants_queue_is_bounded_and_no_other_tenants_is() -> None:
    pool, work = FairPool(threads=1, queue=2, what="recall"), Held()
    calls = [await held(pool, work)]
    calls += [asyncio.create_task(pool.run(key("abuser"), work.piece("a"))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(RequestRefused) as refused:
        await pool.run(key("abuser"), work.piece("refused"))
    assert (refused.value.status, refused.value.code) == (429, "busy") and int(refused.value.headers["Retry-After"]) >= 1
    calls.append(asyncio.create_task(pool.run(key("other"), work.piece("o"))))
    await asyncio.sleep(0)
    work.free.set()
    await asyncio.gather(*calls)
    assert sorted(work.ran) == ["a", "a", "hold", "o"]


async def test_work_whose_caller_has_gone_never_runs_and_frees_its_place() -> None:
    pool, work = FairPool(threads=1, queue=1, what="recall"), Held()
    first = await held(pool, work)
    gone = asyncio.create_task(pool.run(key("acme"), work.piece("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert pool.waiting == 0
    stays = asyncio.create_task(pool.run(key("acme"), work.piece("stays")))
    await asyncio.sleep(0)
    work.free.set()
    await asyncio.gather(first, stays)
    assert work.ran == ["hold", "stays"]


async def test_a_thread_stays_taken_until_its_work_ends_though_the_caller_has_gone() -> None:
    pool, work = FairPool(threads=1, queue=5, what="recall"), Held()
    first = await held(pool, work)
    first.cancel()
    await asyncio.wait([first])
    next_ = asyncio.create_task(pool.run(key("acme"), work.piece("next")))
    await asyncio.sleep(0)
    assert pool.running == 1 and pool.waiting == 1
    work.free.set()
    assert await next_ == "next"


async def test_what_the_work_raises_is_raised_and_the_next_has_its_turn() -> None:
    pool = FairPool(threads=1, queue=5, what="recall")

    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await pool.run(key("acme"), broken)
    assert await pool.run(key("acme"), lambda: pool.beside(lambda: 7).result()) == 7


async def test_a_closed_pool_leaves_no_thread_behind() -> None:
    pool = FairPool(threads=2, queue=5, what="closing")
    assert await pool.run(key("acme"), threading.get_ident)
    pool.close()
    for thread in threading.enumerate():
        if thread.name.startswith("crewmem-closing"):
            thread.join(10)
            assert not thread.is_alive()
