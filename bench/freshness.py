"""From the end of a kickoff (its event is published) to its memory being recallable, at half of the load that the stack takes.

This process publishes as crews do, through the outbox and `POST /v1/events`; `crewmem up` is another process, with the real
model. First bursts tell how many kickoffs a second get through at most; then half as many come in, evenly, and of some of
them the recall service is asked for the memory, waiting with the event's freshness token.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import numpy as np
from _corpus import text
from crewmem_producers.events import Event, KickoffCompleted, TaskOutput
from crewmem_producers.names import Scope
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, load

BURST = 250
"""Kickoffs that are published at once: several batches of the consumer."""
BURSTS = 3
SESSIONS = 10
ASKED = 10
"""One event of so many is asked for: each question costs the same machine an embedding of its own."""
WAIT_SECONDS = 30
BURST_WAIT_SECONDS = 120
FLOOR_QUESTIONS = 20


@contextmanager
def service(home: Path) -> Iterator[str]:
    """`crewmem up`, and its address."""
    environ = os.environ | {"CREWMEM_HOME": str(home)}
    command = [sys.executable, "-m", "crewmem.cli", "up", "--port", "0"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = ""
            for line in process.stdout:
                if line.startswith("url"):
                    url = line.split()[1]
                if line.startswith("ready"):
                    yield url
                    break
            else:
                raise SystemExit("crewmem up did not start")
        finally:
            process.terminate()


def kickoff(number: int, dice: random.Random) -> Event:
    tasks = [
        TaskOutput(index=index, key=f"task-{index}", agent_role="Researcher", raw=f"Run {number}: {text(dice, 3)}")
        for index in range(2)
    ]
    return Event(
        body=KickoffCompleted(crew="bench", crew_key="bench", raw=tasks[-1].raw, tasks=tasks),
        scope=Scope.of("default", f"session-{number % SESSIONS}"),
        source="bench",
    )


async def ask(http: httpx.AsyncClient, question: dict[str, object]) -> dict[str, object]:
    answer = await http.post("/v1/memory/recall", json=question, timeout=WAIT_SECONDS + 30)
    answer.raise_for_status()
    found: dict[str, object] = answer.json()
    return found


async def recallable(http: httpx.AsyncClient, publisher: Publisher, event: Event, *, asked: bool) -> float | None:
    """Seconds from publishing until a recall of the event's session holds the event; None for an event not asked for."""
    began = time.perf_counter()
    receipt = await publisher.apublish(event)
    if not asked:
        return None
    token = await receipt.atoken(WAIT_SECONDS)
    assert event.scope is not None and isinstance(event.body, KickoffCompleted)
    question = {"q": event.body.raw[:200], "session": event.scope.session, "after": token, "wait_seconds": WAIT_SECONDS}
    answer = await ask(http, question)
    assert answer["fresh"], "the view did not get there in time"
    assert any(memory["event_id"] == event.id for memory in answer["memories"])  # type: ignore[attr-defined]
    return time.perf_counter() - began


async def burst(http: httpx.AsyncClient, publisher: Publisher, events: Sequence[Event]) -> float:
    """Kickoffs a second, from the first one's publishing to the last one's memory being in the view."""
    began = time.perf_counter()
    for event in events:
        receipt = await publisher.apublish(event)
    token = await receipt.atoken(BURST_WAIT_SECONDS)
    last = events[-1]
    assert last.scope is not None
    question = {"q": "price", "session": last.scope.session, "after": token, "wait_seconds": WAIT_SECONDS}
    while not (await ask(http, question))["fresh"]:
        assert time.perf_counter() < began + BURST_WAIT_SECONDS, "the burst does not get through"
    return len(events) / (time.perf_counter() - began)


async def maximum(http: httpx.AsyncClient, publisher: Publisher, numbers: Iterator[int], dice: random.Random) -> list[float]:
    """What each burst got through, kickoffs a second; the first burst warms and does not count."""
    found = []
    for _ in range(BURSTS + 1):
        events = [kickoff(next(numbers), dice) for _ in range(BURST)]
        found.append(await burst(http, publisher, events))
        print(f"burst: {found[-1]:.1f} a second", file=sys.stderr)
    return found[1:]


@dataclass
class Measured:
    """Kickoffs a second of each burst and of the load; seconds to recallable under it, and of recalls that wait for nothing."""

    bursts: list[float]
    load: float
    recallable: list[float]
    floor: list[float]


async def measure(url: str, key: str, publisher: Publisher, *, seconds: int) -> Measured:
    dice, numbers = random.Random(1), count()
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as http:
        await recallable(http, publisher, kickoff(next(numbers), dice), asked=True)  # warms both
        floor = []
        for _ in range(FLOOR_QUESTIONS):
            began = time.perf_counter()
            await ask(http, {"q": text(dice, 2), "session": "session-0"})
            floor.append(time.perf_counter() - began)
        bursts = await maximum(http, publisher, numbers, dice)
        load = float(np.median(bursts)) / 2
        tasks, start = [], time.perf_counter()
        for place in range(int(seconds * load)):
            await asyncio.sleep(max(0.0, start + place / load - time.perf_counter()))
            event = kickoff(next(numbers), dice)
            tasks.append(asyncio.create_task(recallable(http, publisher, event, asked=place % ASKED == 0)))
        found = await asyncio.gather(*tasks)
    return Measured(bursts, load, [one for one in found if one is not None], floor)


def row(title: str, seconds: list[float]) -> str:
    p50, p95 = np.percentile(seconds, 50), np.percentile(seconds, 95)
    return f"| {title} | {len(seconds)} | {min(seconds):.2f} | **{p50:.2f}** | **{p95:.2f}** |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    seconds = 300 if parser.parse_args().full else 45
    with tempfile.TemporaryDirectory() as folder, service(Path(folder) / "up") as url:
        key = (Path(folder) / "up" / "api_key").read_text().strip()
        publisher = Publisher(load(CrewSettings, home=Path(folder) / "crew", base_url=url, api_key=key))
        found = asyncio.run(measure(url, key, publisher, seconds=seconds))
        publisher.close()
    print("## How long after a kickoff's end is its memory recallable, at half of the maximum load?\n")
    least, most = min(found.bursts), max(found.bursts)
    print(
        f"Bursts of {BURST} kickoffs (two tasks of 42 words each) over HTTP into one `crewmem up` get through at "
        f"{float(np.median(found.bursts)):.1f} a second ({least:.1f} to {most:.1f} in {BURSTS} bursts): the maximum. Then half "
        f"of that, {found.load:.1f} a second, for {seconds} s; one of {ASKED} is asked for with its freshness token. A batch "
        "that is not full waits 0.2 s by default.\n"
    )
    print("| seconds | questions | least | p50 | p95 |\n|---|---|---|---|---|")
    print(row("published to recalled", found.recallable))
    print(row("a recall that waits for nothing", found.floor))


if __name__ == "__main__":
    main()
