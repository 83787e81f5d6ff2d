"""When the owner of a partition compacts its tables, between batches, and when it removes their old versions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from crewmem_producers.errors import StoreUnavailable

from crewmem_store.lance_table import OwnedTable

log = logging.getLogger(__name__)

COMMITS = 64
"""After so many commits to a table its small files are joined: each costs every recall about 0.1 ms."""

KEEP_VERSIONS = timedelta(minutes=5)
"""Readers of other processes may still be reading a version this old."""

FORGET_SECONDS = 60.0
"""What was forgotten is still in the files until they are joined: that happens so soon after a forget."""

REST = 9
"""Joining a table may take one part in ten of the owner's time: a big one rests nine times as long as it took."""


class Maintenance:
    """Keeps the times of each table of a partition. `clock` gives seconds that only go forward."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rest_until: dict[str, float] = {}
        self._clean_at: dict[str, float] = {}
        self._compacted_at: dict[str, float] = {}
        self._forgot_at: float | None = None

    def forgot(self) -> None:
        """Declares that text was nulled, and is still in the files."""
        if self._forgot_at is None:
            self._forgot_at = self._clock()

    def is_due(self, table: OwnedTable, *, holds_text: bool = False) -> bool:
        """Whether to compact the table now: after enough commits, or a while after a forget if it holds text."""
        now = self._clock()
        if now < self._rest_until.get(table.name, now):
            return False
        forgotten = holds_text and self._forgot_at is not None and now >= self._forgot_at + FORGET_SECONDS
        return forgotten or table.commits_since_optimised >= COMMITS

    def compact(self, table: OwnedTable, *, holds_text: bool = False) -> None:
        """A failure (another writer was in the way, the disk is full) is logged; the next turn tries again."""
        began = self._clock()
        try:
            table.compact()
        except StoreUnavailable as error:
            log.warning("%s was not optimised, recalls get slower until it is: %s", table.name, error)
            table.commits_since_optimised = 0
            return
        finally:
            ended = self._clock()
            self._rest_until[table.name] = ended + REST * (ended - began)
        self._compacted_at[table.name] = ended
        self._clean_at.setdefault(table.name, ended + KEEP_VERSIONS.total_seconds())
        if holds_text:
            self._forgot_at = None

    def has_old_versions(self, table: OwnedTable) -> bool:
        """Whether there are versions that no reader can still be at."""
        return self._clock() >= self._clean_at.get(table.name, float("inf"))

    def settle(self, table: OwnedTable) -> None:
        """Leaves nothing for a clean-up to compact, so that the newest version before it is the newest after it."""
        try:
            table.settle()
        except StoreUnavailable as error:
            log.warning("%s was not optimised before its clean-up: %s", table.name, error)

    def clean_up(self, table: OwnedTable) -> None:
        """Removes those versions. A failure is logged; the next turn tries again."""
        try:
            table.clean_up(KEEP_VERSIONS)
        except StoreUnavailable as error:
            log.warning("old versions of %s were not removed: %s", table.name, error)
            return
        again = self._compacted_at[table.name] + KEEP_VERSIONS.total_seconds()
        if again > self._clean_at.pop(table.name):
            self._clean_at[table.name] = again
