"""The rates that `crewmem size` computes with unless it is told to measure. `python scripts/measure_size.py` takes them anew,
for some numbers of words."""

from __future__ import annotations

from crewmem.cli.sizing.rates import Point, Rates

RATES = Rates(
    source=(
        "`crewmem size --measure`, 2026-11-23; 200 kickoffs, all-MiniLM-L6-v2, 2 cores (x86_64), Python 3.11.7, crewmem"
        " 0.1.0, lancedb 0.40.0, torch 2.13.0+cpu"
    ),
    service_bytes=967e6,
    points=(
        Point(words=60, log_bytes=891, store_bytes=5_998, cpu_seconds=0.0605, memories=3.0, memory_bytes=11_430),
        Point(words=600, log_bytes=2_352, store_bytes=9_318, cpu_seconds=0.2266, memories=3.0, memory_bytes=17_160),
        Point(words=3_000, log_bytes=7_681, store_bytes=25_300, cpu_seconds=0.4841, memories=5.9, memory_bytes=46_010),
    ),
)

SEAL_BYTES = 71
"""What sealing adds to an event: nonce, tag, and the header that names the data key."""

DATA_KEY_BYTES, DATA_KEY_MEMORY = 460, 1_030
"""A data key in the registry (a record of 330 bytes in a SQLite file with its index; somewhat less on Kafka), and in the memory
of each service and consumer: 5,000 of them, by file size and `tracemalloc`."""

MERGE_SECONDS = {10_000: 0.0130, 100_000: 0.0172, 1_000_000: 0.1086}
"""Rows of a table -> seconds that a commit into it takes: bench/README.md, "How long does a merge of 50 rows take in a large
table?", medians."""
