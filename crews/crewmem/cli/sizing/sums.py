"""What a fleet needs, from the rates of one kickoff."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from crewmem.cli.sizing.measured import DATA_KEY_BYTES, DATA_KEY_MEMORY, MERGE_SECONDS, SEAL_BYTES
from crewmem.cli.sizing.rates import Rates, between

DAYS, DAY_SECONDS, GB = 365, 86_400, 1e9
REPLICAS = 3
"""Copies of the log on a fleet's brokers."""
PEAK = 4
"""How much busier than the day's mean its busiest hours are taken to be."""
USE = 0.7
"""The share of a core that may be in use before what arrives waits noticeably."""
PARTITIONS = 12
"""What `crewmem topics create` makes; each is a table of its own."""
BACKLOG_BATCH = 32
"""Kickoffs of one commit when many wait; of those that come one by one each is a commit."""
CACHE_BYTES = 256 * 2**20 + (256 + 128) * 2**20
"""The most that a recall service keeps of memories, and of the store's indexes and metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a fleet needs, with sealing. Sizes in GB (10^9 bytes), of a year without anything erased; `data_key_memory_gb` in
    each service and consumer; `consumer_cores` keep up with the busiest hours, at the end of the first year;
    `backlog_minutes` are for a day's kickoffs on those cores."""

    deployments: int
    kickoffs_per_day: float
    memories_per_year: float
    log_gb_per_year: float
    replicated_log_gb_per_year: float
    data_keys_per_year: float
    registry_gb_per_year: float
    data_key_memory_gb: float
    store_gb_per_year: float
    consumer_cores_mean: float
    consumer_cores: int
    recall_memory_gb: float
    backlog_minutes: float

    def json(self) -> dict[str, Any]:
        """To four figures."""
        return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(self).items()}


def need(
    rates: Rates, *, kickoffs_per_day: float, output_words: float, deployments: int, sessions_per_day: float | None = None,
) -> Need:  # fmt: skip
    """For so many deployments of so many kickoffs a day each, whose outputs have so many words together. `sessions_per_day`
    are those that one deployment writes to; None: each kickoff to another."""
    each = rates.at(output_words)
    daily = kickoffs_per_day * deployments
    log_bytes = each.log_bytes + SEAL_BYTES
    data_keys = DAYS * deployments * min(kickoffs_per_day, sessions_per_day or kickoffs_per_day)
    rows = daily * DAYS * each.memories / PARTITIONS
    commit = between([*MERGE_SECONDS], [*MERGE_SECONDS.values()], rows)
    busy = daily * (each.cpu_seconds + commit) / DAY_SECONDS
    cores = max(1, math.ceil(busy * PEAK / USE))
    held = min(CACHE_BYTES, daily * DAYS * each.memory_bytes)
    return Need(
        deployments=deployments,
        kickoffs_per_day=daily,
        memories_per_year=daily * DAYS * each.memories,
        log_gb_per_year=daily * DAYS * log_bytes / GB,
        replicated_log_gb_per_year=daily * DAYS * log_bytes * REPLICAS / GB,
        data_keys_per_year=data_keys,
        registry_gb_per_year=data_keys * DATA_KEY_BYTES / GB,
        data_key_memory_gb=data_keys * DATA_KEY_MEMORY / GB,
        store_gb_per_year=daily * DAYS * each.store_bytes / GB,
        consumer_cores_mean=busy,
        consumer_cores=cores,
        recall_memory_gb=(rates.service_bytes + held) / GB,
        backlog_minutes=daily * (each.cpu_seconds + commit / BACKLOG_BATCH) / cores / 60,
    )
