"""The consumer's metrics, by the names that dashboards and alerts rely on; no tenant and no session is ever a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crewmem_store.rows import Outcome
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from crewmem_consumers.away import PARTS


class Metrics:
    """One set of metrics, in a registry of its own, so that several consumers in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._records = Counter(
            "crewmem_records_total", "Records given an outcome here since the start", ["outcome"], registry=self.registry
        )
        self._vectors = Counter(
            "crewmem_vectors_total", "Vectors that were needed here, by where they came from: the model, or another generation",
            ["source"], registry=self.registry,
        )  # fmt: skip
        self._lag = Gauge("crewmem_lag_records", "Records that wait in this process's partitions", registry=self.registry)
        self._oldest = Gauge(
            "crewmem_oldest_unprocessed_seconds", "Age of the oldest record that waits in this process", registry=self.registry
        )
        self._waiting = Gauge(
            "crewmem_waiting", "How many of this process's partitions and tasks wait for that part of the surroundings",
            ["part"], registry=self.registry,
        )  # fmt: skip
        self._stalled = Gauge(
            "crewmem_stalled_partitions", "Partitions of this process that stand still though records wait there",
            registry=self.registry,
        )  # fmt: skip
        self._damaged = Gauge(
            "crewmem_damaged_partitions", "Partitions of this process of which files of the store are gone or were changed",
            registry=self.registry,
        )  # fmt: skip
        self._topic_problems = Gauge(
            "crewmem_topic_problems", "Settings of Kafka's topics by which memory will be lost", registry=self.registry
        )
        self._llm_backlog = Gauge(
            "crewmem_llm_backlog", "Memories whose LLM summary is still to be made", registry=self.registry
        )

    def processed(self, outcomes: Mapping[Outcome, int]) -> None:
        """Counts a batch's outcomes."""
        for outcome, count in outcomes.items():
            self._records.labels(outcome.value).inc(count)

    def outcomes(self, outcome: Outcome) -> int:
        """How many records had that outcome."""
        return int(self.registry.get_sample_value("crewmem_records_total", {"outcome": outcome.value}) or 0)

    def vectors(self, *, embedded: int, reused: int) -> None:
        """Counts vectors that the model made, and such that another generation had."""
        self._vectors.labels("model").inc(embedded)
        self._vectors.labels("generation").inc(reused)

    def vectors_from(self, source: str) -> int:
        """How many came from `model`, or from a `generation`."""
        return int(self.registry.get_sample_value("crewmem_vectors_total", {"source": source}) or 0)

    def lag(self, *, records: int, oldest_seconds: float) -> None:
        """Over all partitions that this process owns."""
        self._lag.set(records)
        self._oldest.set(oldest_seconds)

    def stalled(self, partitions: int) -> None:
        """Over all partitions that this process owns."""
        self._stalled.set(partitions)

    def topic_problems(self, problems: Sequence[str] | None) -> None:
        """None: not known, and the gauge stays as it is."""
        if problems is not None:
            self._topic_problems.set(len(problems))

    def damaged(self, partitions: int) -> None:
        """Over all partitions that this process owns."""
        self._damaged.set(partitions)

    def waiting(self, parts: Mapping[str, int], *, llm_backlog: int) -> None:
        """Part of the surroundings -> how many wait for it; those that are left out are there."""
        for part in PARTS:
            self._waiting.labels(part).set(parts.get(part, 0))
        self._llm_backlog.set(llm_backlog)

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)
