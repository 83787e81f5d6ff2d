"""What `publish` gives back: the ids of what was published, and the freshness token once the log has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crewmem_producers.errors import EventRefused, TokenTimeout
from crewmem_producers.freshness import format_token, parse_token
from crewmem_producers.transport import Fate, Refused
from crewmem_producers.waiting import await_until, wait_until


class Receipt:
    """`ids` are the event ids in order; a kickoff that was published in pieces has several."""

    def __init__(self, *, ids: Sequence[str], fates: Callable[[], Sequence[Fate] | None]) -> None:
        """`fates` gives every event's fate, or None while one of them still waits."""
        self.ids = tuple(ids)
        self._fates = fates
        self._token: str | None = None

    def token(self, timeout_seconds: float) -> str:
        """The freshness token, for a recall with `after=`. Raises TokenTimeout, EventRefused, OutboxBroken."""
        wait_until(self._look, timeout_seconds)
        return self._found(timeout_seconds)

    async def atoken(self, timeout_seconds: float) -> str:
        """`token` for asyncio; blocks no loop."""
        await await_until(self._look, timeout_seconds)
        return self._found(timeout_seconds)

    def _look(self) -> bool:
        if self._token is None and (fates := self._fates()) is not None:
            self._token = _joined(fates)
        return self._token is not None

    def _found(self, timeout_seconds: float) -> str:
        if self._token is not None:
            return self._token
        raise TokenTimeout(
            f"the log did not acknowledge {', '.join(self.ids)} within {timeout_seconds:g} s; "
            "what is in the outbox will be sent later (`crewmem outbox status`)"
        )


def _joined(fates: Sequence[Fate]) -> str:
    """One token for all."""
    refused = [fate.reason for fate in fates if isinstance(fate, Refused)]
    if refused:
        raise EventRefused(f"{len(refused)} of {len(fates)} events were refused for ever: {refused[0]}")
    return format_token(mark for fate in fates if not isinstance(fate, Refused) for mark in parse_token(fate.token))
