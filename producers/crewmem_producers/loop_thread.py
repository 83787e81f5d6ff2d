"""A thread with an event loop of its own, so that publishing works with no loop, inside a running one, and beside any."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from crewmem_producers import forks

HALT_SECONDS = 5.0
"""How long a fork waits for the callback that the loop is in."""

T = TypeVar("T")


class _Loop(asyncio.SelectorEventLoop):
    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """What asyncio does on its default executor (resolving names) is done here: that executor is shut before `atexit`."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class LoopThread:
    """Started when made; a daemon, so that it never keeps a process from ending."""

    def __init__(self, name: str) -> None:
        """Raises RuntimeError when the interpreter starts no more threads."""
        ready: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = concurrent.futures.Future()
        self._thread = threading.Thread(target=_run, args=(ready,), name=name, daemon=True)
        self._thread.start()
        self._loop, self._stopping = ready.result()
        self._halted, self._resumed = threading.Event(), threading.Event()
        forks.watch(self, forks.ForkOrder.THREAD)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Runs the coroutine on the thread's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[[], object]) -> None:
        """Calls the function on the thread's loop, soon; does nothing once the thread has stopped."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def stop(self, timeout_seconds: float) -> None:
        """Cancels what runs and waits for its clean-up, at most that long; safe to call twice."""
        self.call(self._stopping.set)
        self._thread.join(timeout_seconds)

    def before_fork(self) -> None:
        """Halts the loop between two callbacks: in the middle of one the thread may hold a lock, which the child would
        inherit and nobody free. A callback that takes too long is not waited for."""
        if threading.current_thread() is self._thread:
            return
        self._halted.clear()
        self._resumed.clear()
        self.call(self._halt)
        deadline = time.monotonic() + HALT_SECONDS
        while self._thread.is_alive() and not self._halted.wait(0.05) and time.monotonic() < deadline:
            pass

    def after_fork_in_parent(self) -> None:
        self._resumed.set()

    def after_fork_in_child(self) -> None:
        """The thread is not there; whoever made this makes another."""

    def _halt(self) -> None:
        self._halted.set()
        self._resumed.wait()


def _run(ready: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    loop = _Loop()
    try:
        loop.run_until_complete(_until_stopped(ready))
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel every task that is left, wait for its clean-up, and close the loop."""
    try:
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _until_stopped(ready: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stopping = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), stopping))
    await stopping.wait()
