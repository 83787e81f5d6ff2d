"""Batches that are refused unread: those of a key whose last batch was refused because its tenant has its share undecided.

Checking a batch of 500 events takes some hundred milliseconds. A caller that sends on without waiting would take them from the
consumers, so that what is undecided is decided ever later. One batch a second of such a key is read, to see whether there is
room again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crewmem_store.errors import RequestRefused

READ_AGAIN_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 5
"""The longest Retry-After of a batch that was not read: it may have been for a session with room."""


class UnreadBatches:
    """Belongs to one event loop. It holds one entry for each key whose last batch was refused."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._refused: dict[str, tuple[float, RequestRefused]] = {}
        """When the next batch of a key is read, and why its last one was refused, by the key's hash."""

    def check(self, key_hash: str) -> None:
        """Call before a batch is read. Raise RequestRefused (429 busy) unless this one is to be read."""
        if (found := self._refused.get(key_hash)) is None:
            return
        again_at, why = found
        if (now := self._monotonic()) < again_at:
            wait = min(int(why.headers["Retry-After"]), LONGEST_RETRY_SECONDS)
            raise RequestRefused(why.status, why.code, str(why), headers={"Retry-After": str(wait)})
        self._refused[key_hash] = now + READ_AGAIN_SECONDS, why

    @contextmanager
    def watch(self, key_hash: str) -> Iterator[None]:
        """Around the admission of a batch that was read: what becomes of it decides about the next one."""
        try:
            yield
        except RequestRefused as error:
            if error.code == "busy":
                self._refused[key_hash] = self._monotonic() + READ_AGAIN_SECONDS, error
            raise
        self._refused.pop(key_hash, None)
