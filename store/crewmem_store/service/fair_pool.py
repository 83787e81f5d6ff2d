"""Blocking work of many tenants on a few threads, in fair turns: one tenant's thousand calls delay another's by about one."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key

T = TypeVar("T")

_SMOOTHING = 0.1
"""What one piece of work counts for in the mean of what they take."""
LONGEST_RETRY_SECONDS = 60


@dataclass(eq=False, slots=True)
class _Job:
    key: Key
    work: Callable[[], Any]
    answer: asyncio.Future[Any]
    context: contextvars.Context
    began: float = 0.0


@dataclass(slots=True)
class _Tenant:
    """What waits of one tenant: jobs by key, first come, first served. The first key has the next turn."""

    keys: OrderedDict[str, deque[_Job]] = field(default_factory=OrderedDict)
    waiting: int = 0

    def add(self, job: _Job) -> None:
        self.keys.setdefault(job.key.hash, deque()).append(job)
        self.waiting += 1

    def take(self) -> _Job:
        name, jobs = self.keys.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self.keys[name] = jobs
        self.waiting -= 1
        return job

    def remove(self, job: _Job) -> None:
        jobs = self.keys[job.key.hash]
        jobs.remove(job)
        if not jobs:
            del self.keys[job.key.hash]
        self.waiting -= 1


class FairPool:
    """Turns go round the tenants, and within a tenant round its keys. Belongs to one event loop.

    `threads` pieces of work run at once, each with at most one part `beside` it; of each tenant `queue` wait at most. `what`
    names the work in messages.
    """

    def __init__(self, *, threads: int, queue: int, what: str) -> None:
        self._threads, self._queue, self._what = threads, queue, what
        self._executor = ThreadPoolExecutor(2 * threads, thread_name_prefix=f"crewmem-{what}")
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._running = 0
        self._mean_seconds = 0.0

    @property
    def running(self) -> int:
        """Pieces of work that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Pieces of work that wait for their turn."""
        return sum(tenant.waiting for tenant in self._tenants.values())

    async def run(self, key: Key, work: Callable[[], T]) -> T:
        """Return what `work` returns, called on a thread when it is its turn. Work whose caller is cancelled before never runs.

        Raise what it raises; RequestRefused (429 busy, with Retry-After) when too many calls of the tenant wait already.
        """
        tenant = self._tenants.get(key.tenant)
        if tenant is not None and tenant.waiting >= self._queue:
            raise self._busy(tenant.waiting)
        job = _Job(key, work, asyncio.get_running_loop().create_future(), contextvars.copy_context())
        self._tenants.setdefault(key.tenant, _Tenant()).add(job)
        self._start_next()
        try:
            answer: T = await job.answer
            return answer
        finally:
            if not job.began:
                self._remove(job)

    def beside(self, part: Callable[[], T]) -> Future[T]:
        """Run a part of a piece of work, which calls this, on a second thread."""
        return self._executor.submit(part)

    def close(self) -> None:
        """Let the threads end when they have finished what runs. What waits for its turn is not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start_next(self) -> None:
        while self._running < self._threads and self._tenants:
            name, tenant = self._tenants.popitem(last=False)
            job = tenant.take()
            if tenant.waiting:
                self._tenants[name] = tenant
            self._start(job)

    def _start(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        self._running += 1
        job.began = time.monotonic()
        done = self._executor.submit(job.context.run, job.work)
        done.add_done_callback(partial(self._hand_back, loop, job))

    def _hand_back(self, loop: asyncio.AbstractEventLoop, job: _Job, result: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(self._finished, job, result)

    def _finished(self, job: _Job, result: Future[Any]) -> None:
        self._running -= 1
        took = time.monotonic() - job.began
        self._mean_seconds += (took - self._mean_seconds) * (_SMOOTHING if self._mean_seconds else 1.0)
        if not job.answer.done():
            error = result.exception()
            if error is None:
                job.answer.set_result(result.result())
            else:
                job.answer.set_exception(error)
        self._start_next()

    def _remove(self, job: _Job) -> None:
        tenant = self._tenants[job.key.tenant]
        tenant.remove(job)
        if not tenant.waiting:
            del self._tenants[job.key.tenant]

    def _busy(self, waiting: int) -> RequestRefused:
        turns = waiting * len(self._tenants) / self._threads
        wait = min(max(1, math.ceil(turns * self._mean_seconds)), LONGEST_RETRY_SECONDS)
        message = f"{waiting} calls of this tenant wait for {self._what} already; try again in {wait} s"
        return RequestRefused(429, "busy", message, headers={"Retry-After": str(wait)})
