"""Waiting out what is away: trying again with backoff, saying so, and ending at once when told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from crewmem_producers.errors import Unavailable
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

P = ParamSpec("P")
T = TypeVar("T")

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 20.0


class Stopped(Exception):
    """`stop` was set while something was waited for."""


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event was set before that time had passed."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def is_unavailable(error: Exception) -> bool:
    """Whether the surroundings are at fault, so that waiting can help."""
    return isinstance(error, Unavailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Tries until it is done. `say(error)` is told what stands in the way, and None when nothing does any more;
    `worth(error)` says whether trying again can help."""

    stop: asyncio.Event
    say: Callable[[Exception | None], None]
    worth: Callable[[Exception], bool] = is_unavailable

    async def until_done(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`. Raises Stopped, and every error that is not worth another try."""
        retrying = AsyncRetrying(
            wait=wait_random_exponential(multiplier=FIRST_BACKOFF_SECONDS, max=MAX_BACKOFF_SECONDS),
            retry=self._again,
            sleep=self._nap,
            before_sleep=self._tell,
        )
        result: T = await retrying(work, *args, **kwargs)
        self.say(None)
        return result

    def _again(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return isinstance(error, Exception) and not isinstance(error, Stopped) and self.worth(error)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, Exception), "only what failed is tried again"
        self.say(error)

    async def _nap(self, seconds: float) -> None:
        if await is_set_within(self.stop, seconds):
            raise Stopped
