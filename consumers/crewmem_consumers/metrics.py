"""The consumer's metrics, by the names of FORMATS; no tenant and no session is ever a label."""

from __future__ import annotations

from collections.abc import Mapping

from crewmem_store.rows import Outcome
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest


class Metrics:
    """One set of metrics, in a registry of its own, so that several consumers in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._records = Counter(
            "crewmem_records_total", "Records that got their outcome here", ["outcome"], registry=self.registry
        )
        self._lag = Gauge("crewmem_lag_records", "Records on the log that are not processed yet", registry=self.registry)
        self._oldest = Gauge(
            "crewmem_oldest_unprocessed_seconds", "Age of the oldest record that is not processed yet", registry=self.registry
        )

    def processed(self, outcomes: Mapping[Outcome, int]) -> None:
        """Counts a batch's outcomes."""
        for outcome, count in outcomes.items():
            self._records.labels(outcome.value).inc(count)

    def lag(self, *, records: int, oldest_seconds: float) -> None:
        """Over all partitions that this process owns."""
        self._lag.set(records)
        self._oldest.set(oldest_seconds)

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)
