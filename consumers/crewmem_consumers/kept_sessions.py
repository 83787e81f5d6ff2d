"""Sessions from one batch to the next, so that a session that goes on is not read again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping

from crewmem_producers.names import Scope
from crewmem_store.store import PartitionView

from crewmem_consumers.sessions import Session, Sessions

MOST_BYTES = 256 * 2**20
"""Of all partitions and generations of a process together: some 50,000 memories."""


class SessionBudget:
    """What a process keeps of sessions, whichever partition they belong to: those used longest ago go first. Thread-safe."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._sessions: OrderedDict[tuple[object, Scope], Session] = OrderedDict()
        self._bytes = 0

    def put(self, owner: object, sessions: Mapping[Scope, Session]) -> None:
        """Keeps them, as the newest. The caller must not change them any more, until it has taken them again."""
        with self._lock:
            for scope, session in sessions.items():
                self._sessions[owner, scope] = session
                self._bytes += session.bytes
            while self._bytes > self._most_bytes:
                _, session = self._sessions.popitem(last=False)
                self._bytes -= session.bytes

    def take(self, owner: object, scopes: Collection[Scope]) -> dict[Scope, Session]:
        """Those of the scopes that are kept; they are kept no more."""
        with self._lock:
            found = {scope: self._sessions.pop((owner, scope)) for scope in scopes if (owner, scope) in self._sessions}
            self._bytes -= sum(session.bytes for session in found.values())
            return found

    def forget(self, owner: object) -> None:
        """Lets go of all that the owner keeps."""
        with self._lock:
            for place in [place for place in self._sessions if place[0] is owner]:
                self._bytes -= self._sessions.pop(place).bytes


class KeptSessions:
    """The sessions that one partition's owner keeps, true as long as nobody else writes to the table (`PartitionView.epoch`)
    and every batch was written."""

    def __init__(self, budget: SessionBudget) -> None:
        self._budget = budget
        self._epoch: int | None = None
        self._unwritten = False

    def take(self, scopes: Collection[Scope]) -> dict[Scope, Session]:
        """What is kept of these, taken out: deciding changes them, so that they count as lost until `keep` says that the batch
        was written."""
        if self._unwritten:
            self._budget.forget(self)
        self._unwritten = True
        return self._budget.take(self, scopes)

    def are_true(self, view: PartitionView) -> bool:
        """Whether what is kept, or was taken, is what that view shows; if not, nothing is kept any more."""
        if view.epoch is not None and view.epoch == self._epoch:
            return True
        self._budget.forget(self)
        return False

    def keep(self, view: PartitionView, taken: Mapping[Scope, Session], batch: Sessions) -> None:
        """The batch is written: its sessions hold what the table holds."""
        if view.epoch is None or batch.erases:
            self._budget.forget(self)  # an erasure changes sessions that the batch did not open
        else:
            self._epoch = view.epoch
            self._budget.put(self, {**taken, **batch.open})
        self._unwritten = False
