"""What the service counts, as Prometheus reads it. No tenant, session, key or host is ever a label: it needs no key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from crewmem_store.service.progress import PartitionProgress

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)


class Metrics:
    """The counts of one service since it started."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.recall_seconds = Histogram(
            "crewmem_recall_seconds", "How long a recall took, waiting for freshness left out.",
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip

        self.refused = Counter("crewmem_refused", "Calls that were refused, by the code of their error.", ["code"],
                               registry=self._registry)  # fmt: skip

    def text(
        self, progress: Sequence[PartitionProgress], *, outbox_events: int, stalled_partitions: int | None = None,
        damaged_partitions: int = 0, topic_problems: Sequence[str] | None = None, partitions_of_another_log: int = 0,
    ) -> bytes:  # fmt: skip
        """The exposition: what was counted, and how far the active generation is. `stalled_partitions` and `topic_problems`
        None: unknown, or none without a broker."""
        snapshot = _Snapshot(progress, outbox_events, stalled_partitions, damaged_partitions, topic_problems,
                             partitions_of_another_log)  # fmt: skip
        return generate_latest(self._registry) + generate_latest(snapshot)


class _Snapshot:
    """Figures that are read when they are asked for, in the shape of a collector."""

    def __init__(
        self, progress: Sequence[PartitionProgress], outbox_events: int, stalled_partitions: int | None,
        damaged_partitions: int, topic_problems: Sequence[str] | None, partitions_of_another_log: int,
    ) -> None:  # fmt: skip
        self._topic_problems = topic_problems
        self._partitions_of_another_log = partitions_of_another_log
        self._damaged_partitions = damaged_partitions
        self._progress = progress
        self._stalled_partitions = stalled_partitions
        self._outbox_events = outbox_events

    def collect(self) -> Iterable[Metric]:
        records = CounterMetricFamily(
            "crewmem_records", "All records of the log that the active generation holds, by outcome.", labels=["outcome"]
        )
        lag = GaugeMetricFamily(
            "crewmem_lag_records", "Records of the log that the active generation does not hold yet.", labels=["partition"]
        )
        oldest = GaugeMetricFamily(
            "crewmem_oldest_unprocessed_seconds", "Age of the first record that the active generation does not hold yet.",
            labels=["partition"],
        )  # fmt: skip
        totals: dict[str, int] = {}
        for one in self._progress:
            lag.add_metric([str(one.partition)], one.lag)
            oldest.add_metric([str(one.partition)], one.oldest_unprocessed_seconds)
            for outcome, count in one.outcomes.items():
                totals[outcome] = totals.get(outcome, 0) + count
        for outcome, count in sorted(totals.items()):
            records.add_metric([outcome], count)
        outbox = GaugeMetricFamily(
            "crewmem_outbox_events", "Events that wait in the outboxes of all hosts that reported lately.",
            value=self._outbox_events,
        )  # fmt: skip
        stalled = GaugeMetricFamily(
            "crewmem_stalled_partitions", "Partitions of the active generation that stand still though records wait there."
        )
        if self._stalled_partitions is not None:
            stalled.add_metric([], self._stalled_partitions)
        damaged = GaugeMetricFamily(
            "crewmem_damaged_partitions", "Partitions of the active generation of which files are gone or changed.",
            value=self._damaged_partitions,
        )  # fmt: skip
        topics = GaugeMetricFamily("crewmem_topic_problems", "Settings of Kafka's topics by which memory will be lost.")
        if self._topic_problems is not None:
            topics.add_metric([], len(self._topic_problems))
        another = GaugeMetricFamily(
            "crewmem_other_log_partitions", "Partitions of which the log ends before what the active generation holds.",
            value=self._partitions_of_another_log,
        )  # fmt: skip
        return [records, lag, oldest, outbox, stalled, damaged, topics, another]
