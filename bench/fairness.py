"""What does a tenant that floods the service cost another tenant's recall?

The service runs in a process of its own, as `crewmem serve`. One caller of a tenant recalls, first alone and then beside 256
callers of another tenant with a key for reading (and beside another that only hangs up); rounds of the three alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
from crewmem_producers.connect import open_registry
from crewmem_producers.settings import ServiceSettings, load
from crewmem_store import keys
from crewmem_store.embedders import open_embedder
from recall_http import SESSIONS, TOP_K, fill, prepare, sentence, start

CALLERS = 256
Found = dict[str, list[list[float]]]
MODES = ("alone", "beside 256 callers", "beside 256 callers that hang up")


def question(dice: random.Random) -> dict[str, object]:
    return {"q": sentence(dice, 9), "session": f"session-{dice.randrange(SESSIONS)}", "top_k": TOP_K}


async def abuser_key(settings: ServiceSettings) -> str:
    registry = open_registry(settings)
    await registry.start()
    try:
        return await keys.create(
            registry, tenant="abuser", name="abuser", sessions=keys.EVERY_SESSION, rights=[keys.Right.READ]
        )
    finally:
        await registry.close()


async def flood(client: httpx.AsyncClient, url: str, key: str, *, number: int, hang_up: bool, answers: Counter[str]) -> None:
    """One of the abuser's callers: asks again as soon as it has its answer, or hangs up after 50 ms."""
    dice = random.Random(number)
    while True:
        try:
            response = await client.post(
                f"{url}/v1/memory/recall", json=question(dice), headers={"Authorization": f"Bearer {key}"},
                timeout=0.05 if hang_up else 60,
            )  # fmt: skip
            answers[str(response.status_code)] += 1
            if response.status_code == 429:
                await asyncio.sleep(0.2)  # no client of 256 waits so little; it keeps this process from being the bottleneck
        except httpx.HTTPError:
            answers["hung up"] += 1


async def flood_until(flowing: Event, stop: Event, url: str, key: str, *, hang_up: bool) -> Counter[str]:
    answers: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(limits=limits) as client:
        tasks = [
            asyncio.create_task(flood(client, url, key, number=n, hang_up=hang_up, answers=answers)) for n in range(CALLERS)
        ]
        while answers.total() < CALLERS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        flowing.set()
        await asyncio.to_thread(stop.wait)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return answers


def flooder(flowing: Event, stop: Event, told: Queue[Counter[str]], url: str, key: str, hang_up: bool) -> None:
    """The abuser's callers, in a process of their own."""
    told.put(asyncio.run(flood_until(flowing, stop, url, key, hang_up=hang_up)))


@contextlib.contextmanager
def flooding(url: str, key: str, *, mode: str, answers: Counter[str]) -> Iterator[None]:
    if mode == MODES[0]:
        yield
        return
    spawn = multiprocessing.get_context("spawn")
    flowing, stop, told = spawn.Event(), spawn.Event(), spawn.Queue()
    process = spawn.Process(target=flooder, args=(flowing, stop, told, url, key, mode == MODES[2]))
    process.start()
    try:
        assert flowing.wait(120)
        yield
    finally:
        stop.set()
        answers.update(told.get())
        process.join()


def ask(url: str, key: str, count: int) -> list[float]:
    """Milliseconds of each of `count` recalls, all of which must be answered; on a thread, with a client of its own."""
    dice, took = random.Random(count), []
    with httpx.Client(timeout=60, headers={"Authorization": f"Bearer {key}"}) as client:
        for _ in range(count):
            began = time.perf_counter()
            response = client.post(f"{url}/v1/memory/recall", json=question(dice))
            took.append(1000 * (time.perf_counter() - began))
            assert response.status_code == 200 and response.json()["count"] == TOP_K
    return took


def rounds(url: str, key: str, abuser: str, *, number: int, count: int, answers: Counter[str]) -> Found:
    found: Found = {mode: [] for mode in MODES}
    for one in range(number):
        for mode in MODES:
            with flooding(url, abuser, mode=mode, answers=answers):
                found[mode].append(ask(url, key, count))
        medians = ", ".join(f"{np.median(every[-1]):.0f} ms" for every in found.values())
        print(f"round {one + 1} of {number}: {medians}", file=sys.stderr)
    return found


def lines(found: Found) -> list[str]:
    table = []
    for mode in MODES:
        cells = []
        for quantile in (50, 95):
            values = [float(np.percentile(one, quantile)) for one in found[mode]]
            floor = [float(np.percentile(one, quantile)) for one in found[MODES[0]]]
            ratios = [value / base for value, base in zip(values, floor, strict=True)]
            cells.append(f"{np.median(values):.0f} | **{np.median(ratios):.1f}** | {min(ratios):.1f} to {max(ratios):.1f}")
        table.append(f"| {mode} | {' | '.join(cells)} |")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (10, 200) if parser.parse_args().full else (3, 60)
    answers: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = load(ServiceSettings, home=Path(folder))
        embedder = open_embedder(settings.embedder)
        key = asyncio.run(prepare(settings, embedder))
        abuser = asyncio.run(abuser_key(settings))
        partition = fill(settings, embedder)
        process, url = start(settings)
        try:
            ask(url, key, count)  # warms
            found = rounds(url, key, abuser, number=number, count=count, answers=answers)
        finally:
            process.terminate()
            process.wait()
            partition.close()
    print("## What does a tenant that floods the service cost another tenant's recall?\n")
    print(
        f"One caller of a tenant, {number} alternating rounds of {count} recalls; every one was answered with {TOP_K} memories."
    )
    print("The callers share the service's cores. Medians over rounds; a ratio is to the same round alone.\n")
    print("| | p50, ms | ratio | rounds | p95, ms | ratio | rounds |\n|---|---|---|---|---|---|---|")
    print("\n".join(lines(found)))
    total = sum(answers.values())
    shares = ", ".join(f"{what} {100 * many / total:.0f} %" for what, many in answers.most_common())
    print(f"\nThe flooding callers' {total:,} calls: {shares}.")


if __name__ == "__main__":
    main()
