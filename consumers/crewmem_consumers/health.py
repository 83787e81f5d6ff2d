"""How a consumer is: where each partition stands, how far behind, and what it waits for; and the pages that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crewmem_producers.events import utc_now
from crewmem_store.errors import StoreDamaged
from crewmem_store.rows import Outcome
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from crewmem_consumers.away import Away
from crewmem_consumers.metrics import Metrics


@dataclass(kw_only=True)
class PartitionStatus:
    """One partition that this process owns, as its worker last said. Offsets; `head_timestamp_ms` is the log's clock."""

    generation: str
    partition: int
    position: int | None = None
    """The offset that is processed next; None until the store has answered."""
    end: int | None = None
    """The offset that the log's next record will get; None until the log has answered."""
    head_timestamp_ms: int | None = None
    waits: dict[str, Away] = field(default_factory=dict)
    """What is waited for, by who noticed it (`log`, `work`)."""
    in_doubt: bool = False
    """Whether the log may have become another one: the worker compares it with its ledger before it goes on."""
    refused: str | None = None
    damaged: str | None = None
    """Which files of the store are gone or were changed, as a read or the check of the store met it; `crewmem replay` is the
    remedy."""
    stalled_seconds: float | None = None
    """For how long nothing has moved here though records wait and nothing is known to be away; None while all is well."""
    llm_backlog: int = 0
    """Memories whose LLM summary is still to be made."""
    llm_waits_for: str | None = None
    """Why none is made now. It holds up nothing else."""

    def waits_for(self, who: str, error: Exception | None) -> None:
        """Notes what is waited for; None: no more."""
        _note(self.waits, who, error)
        if isinstance(error, StoreDamaged):
            self.damaged = str(error)

    @property
    def lag(self) -> int | None:
        """Records that are not processed yet; None while that is not known."""
        return None if self.position is None or self.end is None else max(0, self.end - self.position)

    def oldest_seconds(self, now: datetime) -> float:
        """Age of the oldest record that is not processed; 0 when there is none."""
        if not self.lag or self.head_timestamp_ms is None:
            return 0.0
        return max(0.0, now.timestamp() - self.head_timestamp_ms / 1000)

    def report(self, now: datetime) -> dict[str, Any]:
        return {
            "position": self.position,
            "lag": self.lag,
            "oldest_unprocessed_seconds": round(self.oldest_seconds(now), 3),
            "waits_for": _said(self.waits),
            "refused": self.refused,
            "damaged": self.damaged,
            "stalled_seconds": None if self.stalled_seconds is None else round(self.stalled_seconds),
            "llm_backlog": self.llm_backlog,
            "llm_waits_for": self.llm_waits_for,
        }


@dataclass(kw_only=True)
class Health:
    """The state of one consumer process. `starting` names what the start waits for; None once it consumes."""

    clock: Callable[[], datetime] = utc_now
    metrics: Metrics = field(default_factory=Metrics)
    starting: str | None = "start"
    waits: dict[str, Away] = field(default_factory=dict)
    """What the process as a whole waits for, by who noticed it: the log, the registry, its group."""
    refused: dict[str, str] = field(default_factory=dict)
    """Generations that are left out, and why."""
    partitions: dict[tuple[str, int], PartitionStatus] = field(default_factory=dict)
    topics: Callable[[], Sequence[str] | None] = lambda: ()
    """Which settings of Kafka's topics would lose memory; None while that is not known. Nothing else waits for it."""

    def adopt(self, generation: str, partition: int) -> PartitionStatus:
        """A fresh status for a partition that this process owns from now on."""
        status = PartitionStatus(generation=generation, partition=partition)
        self.partitions[generation, partition] = status
        return status

    def give_up(self, generation: str, partition: int) -> None:
        """The partition belongs to another process now."""
        self.partitions.pop((generation, partition), None)

    def waits_for(self, who: str, error: Exception | None) -> None:
        """Notes what the process as a whole waits for; None: no more."""
        _note(self.waits, who, error)

    @property
    def ready(self) -> bool:
        """Whether everything that this process owns moves on."""
        return self.starting is None and not self.waits and not any(map(_stands, self.partitions.values()))

    def report(self) -> dict[str, Any]:
        """What `/health/ready` answers. `dead_letters` are those that this process met since it started."""
        now = self.clock()
        generations: dict[str, dict[str, Any]] = {}
        for (generation, partition), status in sorted(self.partitions.items()):
            generations.setdefault(generation, {})[str(partition)] = status.report(now)
        return {
            "status": "ok" if self.ready else "waiting",
            "starting": self.starting,
            "waits_for": _said(self.waits),
            "refused": dict(self.refused),
            "topics": list(self.topics() or ()),
            "generations": generations,
            "dead_letters": self.metrics.outcomes(Outcome.DEAD_LETTER),
            "llm_backlog": sum(status.llm_backlog for status in self.partitions.values()),
        }

    def measure(self) -> None:
        """Brings the gauges up to what the statuses say."""
        now = self.clock()
        statuses = self.partitions.values()
        self.metrics.lag(
            records=sum(status.lag or 0 for status in statuses),
            oldest_seconds=max((status.oldest_seconds(now) for status in statuses), default=0.0),
        )
        waiting = Counter(away.part for waits in (self.waits, *(one.waits for one in statuses)) for away in waits.values())
        waiting["llm"] += sum(status.llm_waits_for is not None for status in statuses)
        self.metrics.topic_problems(self.topics())
        self.metrics.damaged(sum(one.damaged is not None for one in statuses))
        self.metrics.stalled(sum(one.stalled_seconds is not None for one in statuses))
        self.metrics.waiting(waiting, llm_backlog=sum(status.llm_backlog for status in statuses))


def _stands(status: PartitionStatus) -> bool:
    """Whether the partition does not move on, or not as it should."""
    return bool(status.waits or status.refused or status.damaged) or status.stalled_seconds is not None


def _note(waits: dict[str, Away], who: str, error: Exception | None) -> None:
    if error is None:
        waits.pop(who, None)
    else:
        waits[who] = Away.of(error)


def _said(waits: Mapping[str, Away]) -> str | None:
    return "; ".join(dict.fromkeys(away.says for away in waits.values())) or None


def create_app(health: Health) -> FastAPI:
    """`/health/live`, `/health/ready` (503 while something is waited for) and `/metrics`; no key is needed."""
    app = FastAPI(title="crewmem consumer", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        return JSONResponse(health.report(), status_code=200 if health.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        health.measure()
        return Response(health.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app
