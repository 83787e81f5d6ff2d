"""Recall over HTTP against its floor: the bare encoder and a bare LanceDB query with the scope filter.

The service runs in a process of its own, as `crewmem serve`. Vectors of the rows are random: no time depends on where they
point, and 20,000 texts need not be embedded for it. Rounds of the two alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import lancedb
import numpy as np
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.names import Scope, memory_id
from crewmem_producers.settings import ServiceSettings, load
from crewmem_store import generations, keys
from crewmem_store.connect import open_store
from crewmem_store.embedders import SentenceEmbedder, open_embedder
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.store import PartitionStore
from lancedb.expr import col, lit

MEMORIES, SESSIONS = 20_000, 400
TOP_K = 8
_WORDS = """
price plan market launch customer team risk budget api docs seat vendor contract review quarter growth pilot feature
roadmap support churn onboarding security audit region partner channel discount renewal survey interview persona
"""
WORDS = _WORDS.split()
SUBJECTS = [f"{word}{number}" for word in ("acme", "globex", "initech", "umbra", "hooli") for number in range(60)]
NOW = datetime.now(UTC)


def sentence(dice: random.Random, words: int) -> str:
    return " ".join(dice.choice(SUBJECTS if dice.random() < 0.15 else WORDS) for _ in range(words))


def memory(number: int, dice: random.Random, session: str, *, dimensions: int) -> MemoryRow:
    scope, event_id = str(Scope("default", session)), f"event-{number}"
    vector = np.random.default_rng(number).normal(size=dimensions).astype(np.float32)
    content, time_ = sentence(dice, dice.randint(20, 70)), NOW - timedelta(minutes=MEMORIES - number)
    return MemoryRow(
        id=memory_id(0, scope, event_id, "content"), scope=scope, event_id=event_id, span="content", offset=number,
        created_at=time_, kind="finding", content=content, text=f"Researcher ({time_:%Y-%m-%d}): {content}",
        source_hash=event_id, vector=vector / np.linalg.norm(vector), parent=f"run-{number // 5}", agent_role="Researcher",
    )  # fmt: skip


def write(partition: PartitionStore, rows: Sequence[MemoryRow]) -> None:
    ledger = [
        LedgerRow(
            offset=row.offset, ce_id=row.event_id, type="crewmem.memory.remembered", scope_key=None, crc=0,
            created_at=row.created_at, outcome=Outcome.STORED,
        )
        for row in rows
    ]  # fmt: skip
    partition.commit(rows=rows, updates=[], ledger=ledger)
    partition.maintain()


async def prepare(settings: ServiceSettings, embedder: SentenceEmbedder) -> str:
    """The log, the generation and a key, as `crewmem up` makes them; gives the key."""
    log, registry = open_log(settings), open_registry(settings)
    try:
        await log.start()
        await registry.start()
        await generations.ensure_first(registry, embedder=embedder, partitions=log.partitions)
        return await keys.create(registry, tenant="default", name="bench", sessions=["*"], rights=keys.ALL_RIGHTS)
    finally:
        await log.close()
        await registry.close()


def fill(settings: ServiceSettings, embedder: SentenceEmbedder) -> PartitionStore:
    partition = open_store(settings).partition("g1", 0, dimensions=embedder.dimensions)
    dice = random.Random(7)
    rows = [memory(n, dice, f"session-{n % SESSIONS}", dimensions=embedder.dimensions) for n in range(MEMORIES)]
    for start in range(0, MEMORIES, 500):
        write(partition, rows[start : start + 500])
        print(f"\r{start + 500} memories", end="", file=sys.stderr)
    print(file=sys.stderr)
    return partition


def bare(uri: str, embedder: SentenceEmbedder) -> Callable[[str, str], int]:
    """What any recall must do: encode the question, and ask the table for the nearest rows of the scope."""
    table = lancedb.connect(uri, read_consistency_interval=timedelta(0)).open_table("mem_g1_p00")
    columns = ["id", "content", "metadata", "created_at", "_distance"]

    def ask(question: str, session: str) -> int:
        vector = embedder.embed([question])[0]
        scope = str(Scope("default", session))
        query = table.search(vector, vector_column_name="vector").metric("cosine").where(col("scope") == lit(scope))
        return len(query.select(columns).limit(TOP_K).to_list())

    return ask


def served(url: str, key: str, client: httpx.Client) -> Callable[[str, str], int]:
    headers = {"Authorization": f"Bearer {key}"}

    def ask(question: str, session: str) -> int:
        body = {"q": question, "session": session, "top_k": TOP_K}
        response = client.post(f"{url}/v1/memory/recall", json=body, headers=headers)
        response.raise_for_status()
        count: int = response.json()["count"]
        return count

    return ask


def round_of(ask: Callable[[str, str], int], dice: random.Random, count: int, before: Callable[[], None]) -> list[float]:
    """Milliseconds of each of `count` questions."""
    took = []
    for _ in range(count):
        before()
        question, session = sentence(dice, 9), f"session-{dice.randrange(SESSIONS)}"
        began = time.perf_counter()
        assert ask(question, session) == TOP_K
        took.append(1000 * (time.perf_counter() - began))
    return took


Asks = dict[str, Callable[[str, str], int]]


def rounds(asks: Asks, *, number: int, count: int, before: Callable[[], None]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {name: [] for name in asks}
    for one in range(number):
        for name, ask in asks.items():
            found[name].append(round_of(ask, random.Random(one), count, before))
        medians = ", ".join(f"{name} {np.median(every[-1]):.1f} ms" for name, every in found.items())
        print(f"round {one + 1} of {number}: {medians}", file=sys.stderr)
    return found


def lines(title: str, found: dict[str, list[list[float]]]) -> list[str]:
    table = []
    for quantile in (50, 95):
        by_round = {name: [float(np.percentile(one, quantile)) for one in every] for name, every in found.items()}
        ratios = [http / floor for http, floor in zip(by_round["http"], by_round["bare"], strict=True)]
        floor, http = (float(np.median(by_round[name])) for name in ("bare", "http"))
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        table.append(f"| {title} | p{quantile} | {floor:.1f} | {http:.1f} | **{np.median(ratios):.2f}** | {spread} |")
    return table


def start(settings: ServiceSettings) -> tuple[subprocess.Popen[str], str]:
    environ = os.environ | {"CREWMEM_HOME": str(settings.home), "CREWMEM_PORT": "0"}
    command = [sys.executable, "-c", "from crewmem.cli import main; main()", "serve"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            return process, line.split()[1]
    raise SystemExit("the service did not start")


def measure(home: Path, *, number: int, count: int) -> list[str]:
    settings = load(ServiceSettings, home=home)
    embedder = open_embedder(settings.embedder)
    key = asyncio.run(prepare(settings, embedder))
    partition = fill(settings, embedder)
    process, url = start(settings)
    written = MEMORIES

    def one_more() -> None:
        nonlocal written
        dice = random.Random(written)
        write(partition, [memory(written, dice, f"session-{written % SESSIONS}", dimensions=embedder.dimensions)])
        written += 1

    try:
        with httpx.Client(timeout=60) as client:
            asks: Asks = {"bare": bare(settings.store_uri, embedder), "http": served(url, key, client)}
            rounds(asks, number=1, count=count, before=lambda: None)  # warms both
            quiet = rounds(asks, number=number, count=count, before=lambda: None)
            busy = rounds(asks, number=max(3, number // 2), count=max(20, count // 4), before=one_more)
        return lines("nothing written meanwhile", quiet) + lines("a row written before each question", busy)
    finally:
        process.terminate()
        process.wait()
        partition.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (20, 200) if parser.parse_args().full else (6, 40)
    with tempfile.TemporaryDirectory() as folder:
        table: list[Any] = measure(Path(folder), number=number, count=count)
    print("## How long does a recall over HTTP take, against encoding and querying alone?\n")
    sizes = f"{MEMORIES:,} memories in {SESSIONS} sessions, one table, top {TOP_K}"
    print(f"{sizes}; {number} alternating rounds of {count} questions (half and a quarter of that with writes).")
    print("Milliseconds are medians over rounds, the ratio is the median of the rounds' ratios.\n")
    print("| | | bare, ms | HTTP, ms | ratio | rounds |\n|---|---|---|---|---|---|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
