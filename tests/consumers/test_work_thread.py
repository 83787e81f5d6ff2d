"""What nobody waits for gives way; once somebody does it goes on at full rank."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from crewmem_consumers.work_thread import NICENESS, WorkThread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks threads one by one")


def rank() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_a_thread_in_the_background_gives_way_and_its_children_do() -> None:
    normal, thread = rank(), WorkThread("test", in_background=lambda: True)

    def child() -> int:
        found: list[int] = []
        started = threading.Thread(target=lambda: found.append(rank()))
        started.start()
        started.join()
        return found[0]

    assert await thread.run(rank) == max(normal, NICENESS)
    assert await thread.run(child) == max(normal, NICENESS)
    assert rank() == normal
    thread.close()


async def test_it_goes_on_at_full_rank_when_its_generation_answers_and_back() -> None:
    normal, background = rank(), [True]
    thread = WorkThread("test", in_background=lambda: background[0])
    assert await thread.run(rank) == max(normal, NICENESS)
    background[0] = False
    assert await thread.run(rank) == max(normal, NICENESS), "nothing changes before it is looked at, between two batches"
    thread.look()
    assert await thread.run(rank) == normal
    background[0] = True
    thread.look()
    assert await thread.run(rank) == max(normal, NICENESS)
    thread.close()


async def test_the_rank_stays_as_long_as_nothing_changes() -> None:
    thread = WorkThread("test")
    first = await thread.run(threading.get_ident)
    thread.look()
    assert await thread.run(threading.get_ident) == first
    assert await thread.run(rank) == rank()
    thread.close()
