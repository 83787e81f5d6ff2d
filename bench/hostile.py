"""How long does a tenant wait while another one attacks, against how long it waits alone?

A whole deployment, `crewmem up` with its own model, in a process of its own, and the inputs of the hostile suite.
The victim remembers a fact and asks until it is recalled, then recalls ten times; rounds alone and under each attack alternate.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from hostile.deployment import Deployment, on_one_machine
from hostile.inputs import LONG_TEXTS, QUESTIONS, TEXTS

RECALLS = 10
CALLERS = 32


@dataclass
class Waits:
    """Seconds until a fact could be recalled, milliseconds of each recall."""

    fact: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)


def victim(deployment: Deployment, waits: Waits) -> None:
    fact = f"Acme's plan number {secrets.randbelow(10**12)} costs 49 dollars"
    began = time.monotonic()
    deployment.call("POST", "/v1/memory/remember", key="victim", json={"content": fact, "session": "v", "wait_seconds": 0})
    while True:
        asked = time.monotonic()
        answer = deployment.call("POST", "/v1/memory/recall", key="victim", json={"q": fact, "session": "v", "top_k": 100})
        waits.recall.append((time.monotonic() - asked) * 1000)
        if any(memory["content"] == fact for memory in answer.raise_for_status().json()["memories"]):
            break
        time.sleep(0.05)
    waits.fact.append(time.monotonic() - began)
    for _ in range(RECALLS):
        asked = time.monotonic()
        deployment.call("POST", "/v1/memory/recall", key="victim", json={"q": fact, "session": "v"}).raise_for_status()
        waits.recall.append((time.monotonic() - asked) * 1000)


@contextlib.contextmanager
def attacked(attack: Callable[[int], httpx.Response], callers: int, answers: Counter[str]) -> Iterator[None]:
    """Callers that attack without a pause. An answer is counted by its status, and none by its error."""
    ended = threading.Event()

    def go_on(number: int) -> None:
        while not ended.is_set():
            try:
                answers[str(attack(number).status_code)] += 1
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1

    with ThreadPoolExecutor(callers) as pool:
        for number in range(callers):
            pool.submit(go_on, number)
        time.sleep(3)
        try:
            yield
        finally:
            ended.set()


def attacks(deployment: Deployment) -> dict[str, tuple[int, Callable[[int], httpx.Response]]]:
    texts, questions, outputs = list(TEXTS.values()), list(QUESTIONS.values()), list(LONG_TEXTS.values())
    turn = iter(range(1_000_000_000))

    def ask(_: int) -> httpx.Response:
        return deployment.call("POST", "/v1/memory/recall", key="reader", json=questions[next(turn) % len(questions)])

    def text(_: int) -> httpx.Response:
        return deployment.events({"content": texts[next(turn) % len(texts)]})

    def output(_: int) -> httpx.Response:
        return deployment.events({"raw": outputs[next(turn) % len(outputs)], "tasks": []}, kind="crewmem.kickoff.completed")

    def flood(number: int) -> httpx.Response:
        return deployment.events(*({"content": f"flood {number} {os.urandom(8).hex()}"} for _ in range(500)))

    return {
        f"{CALLERS} callers with questions made to be slow": (CALLERS, ask),
        "4 callers with texts made to be slow": (4, text),
        "2 callers with outputs made to be slow, of up to 8 MB": (2, output),
        "4 callers with batches of 500 events": (4, flood),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more rounds")
    rounds = 5 if parser.parse_args().full else 2
    with tempfile.TemporaryDirectory() as folder, on_one_machine(Path(folder)) as deployment:
        kinds = attacks(deployment)
        alone, under = Waits(), {name: Waits() for name in kinds}
        answers: dict[str, Counter[str]] = {name: Counter() for name in kinds}
        victim(deployment, Waits())  # the first one warms up
        for _ in range(rounds):
            for name, (callers, attack) in kinds.items():
                victim(deployment, alone)
                with attacked(attack, callers, answers[name]):
                    victim(deployment, under[name])
                victim(deployment, Waits())  # until what the attack left is done
    print("## How long does a tenant wait while another one attacks?\n")
    print("`crewmem up` with all-MiniLM-L6-v2; a fact's wait is from `remember` until a recall finds it. Medians.\n")
    print("| | a fact recallable, s | ratio | a recall, ms | ratio | answers to the attack |\n|---|---|---|---|---|---|")
    print(_line("alone", alone, alone, Counter()))
    for name, waits in under.items():
        print(_line(name, waits, alone, answers[name]))


def _line(name: str, waits: Waits, alone: Waits, answers: Counter[str]) -> str:
    fact, recall = statistics.median(waits.fact), statistics.median(waits.recall)
    said = ", ".join(f"{status}: {count:,}" for status, count in sorted(answers.items()))
    return (
        f"| {name} | {fact:.2f} | {fact / statistics.median(alone.fact):.1f} | {recall:.0f} | "
        f"{recall / statistics.median(alone.recall):.1f} | {said} |"
    )


if __name__ == "__main__":
    main()
