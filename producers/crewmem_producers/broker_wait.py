"""Waiting out a Kafka broker: what fails for a moment is tried again, up to a bound, and said once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import ParamSpec, TypeVar

from crewmem_producers.errors import LogUnavailable, RegistryUnavailable

P = ParamSpec("P")
T = TypeVar("T")

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 2.0
QUIET_SECONDS = 5.0
"""An append that takes longer than this is said: the brokers may be choosing a new leader for its partition."""
SAME_OUTAGE_SECONDS = 30.0
"""What fails so soon after another call is the same outage: a broker that is back takes a while until it leads again."""
REMEDY = "check the brokers with `crewmem doctor`, then run the command again"


class BrokerWait:
    """Waits for Kafka up to `seconds` from the first failure of a call. `say(text)` is called once for each outage.

    A service waits for as long as it takes, and says so in its health; a command ends in time, with a remedy.
    """

    def __init__(self, *, seconds: float, say: Callable[[str], None]) -> None:
        self.seconds = seconds
        self._say = say
        self._waited_at = float("-inf")

    async def until_answered(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `work`, which must be harmless to repeat.

        Raise LogUnavailable or RegistryUnavailable when waiting cannot help, or `seconds` are over.
        """
        pause = FIRST_BACKOFF_SECONDS
        deadline: float | None = None
        while True:
            try:
                return await work(*args, **kwargs)
            except (LogUnavailable, RegistryUnavailable) as error:
                deadline = time.monotonic() + self.seconds if deadline is None else deadline
                left = deadline - time.monotonic()
                if not self.seconds or not may_pass(error):
                    raise
                if left <= 0:
                    raise type(error)(f"{error}; waited {self.seconds:g} s: {REMEDY}") from error
                self._tell(str(error))
                await asyncio.sleep(min(left, random.uniform(pause / 2, pause)))
                pause = min(2 * pause, MAX_BACKOFF_SECONDS)

    @asynccontextmanager
    async def saying(self, what: str) -> AsyncIterator[None]:
        """Say once that `what` takes long, where the block does and the client inside retries by itself."""
        task = asyncio.create_task(self._after_a_while(what))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _after_a_while(self, what: str) -> None:
        await asyncio.sleep(QUIET_SECONDS)
        if self.seconds:
            self._tell(what)

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now - self._waited_at > SAME_OUTAGE_SECONDS:
            self._say(f"waiting up to {self.seconds:g} s: {text}")
        self._waited_at = now


NO_WAIT = BrokerWait(seconds=0, say=lambda text: None)
"""For a process that waits by itself: a service, a consumer, the outbox."""


def may_pass(error: BaseException) -> bool:
    """Return whether the same call can succeed later, without a change of settings, rights or programs."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in _LASTING:
            return False
        cause = cause.__cause__
    return True


_LASTING = frozenset({
    "AuthenticationFailedError", "AuthenticationMethodNotSupported", "ClusterAuthorizationFailedError",
    "GroupAuthorizationFailedError", "IllegalSaslStateError", "IncompatibleBrokerVersion", "InvalidConfigurationError",
    "InvalidPartitionsError", "InvalidReplicationFactorError", "InvalidTopicError", "PolicyViolationError",
    "SaslAuthenticationFailed", "TopicAuthorizationFailedError", "UnrecognizedBrokerVersion", "UnsupportedSaslMechanismError",
    "UnsupportedVersionError",
})  # fmt: skip
"""aiokafka's errors that stay. Its own `retriable` is no help: it is False of a time-out, and of a producer that a new one
replaces. By name, since one machine without Kafka has no aiokafka."""
