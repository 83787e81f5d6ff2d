"""A thread with an event loop of its own, so that publishing works with no loop, inside a running one, and beside any."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

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


def _run(ready: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:  # cancels every task at its end
        runner.run(_until_stopped(ready))


async def _until_stopped(ready: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stopping = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), stopping))
    await stopping.wait()
