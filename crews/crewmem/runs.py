"""What the last kickoff did with memory: `crewmem.last_run()`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crewmem_producers.display import visible_line

logger = logging.getLogger("crewmem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One kickoff as memory saw it.

    `memories` are the recalled ones as the service shows them, `blocks` the texts that prompts got, by session;
    `tokens` of all blocks, estimated; `recall_milliseconds` and `publish_milliseconds` are what the hooks cost.
    `published` says whether the log has acknowledged the events; if not, `waiting` events are in the outbox.
    """

    execution_id: str
    crew: str | None
    sessions: tuple[str, ...]
    memories: tuple[Mapping[str, Any], ...] = ()
    blocks: Mapping[str, str]
    tokens: int = 0
    best_score: float | None = None
    recall_milliseconds: float = 0.0
    publish_milliseconds: float = 0.0
    event_ids: tuple[str, ...] = ()
    published: bool = False
    waiting: int = 0
    failed: str | None = None

    def __str__(self) -> str:
        best = "" if self.best_score is None else f", best score {self.best_score:.2f}"
        kept = f"{self.waiting} waiting in the outbox" if self.event_ids else "not published"
        recalled = f"{len(self.memories)} {'memory' if len(self.memories) == 1 else 'memories'}"
        sent = "on the log" if self.published else kept
        return (
            f"crewmem: session {', '.join(self.sessions) or 'none'}: {recalled} recalled "
            f"({self.tokens} tokens{best}, {self.recall_milliseconds:.0f} ms); "
            f"event {', '.join(self.event_ids) or 'none'} {sent} ({self.publish_milliseconds:.0f} ms)"
            + (f"; the kickoff failed: {self.failed}" if self.failed else "")
        )


class _Last:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.run: Run | None = None


_last = _Last()


def report(run: Run) -> None:
    """Logs one INFO line, whatever its names hold, and keeps the run for `last_run()`."""
    with _last.lock:
        _last.run = run
    logger.info("%s", visible_line(run))


def last_run() -> Run | None:
    """The kickoff that ended last in this process, in whatever thread; None before the first one."""
    with _last.lock:
        return _last.run
