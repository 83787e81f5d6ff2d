"""One caller's input, whatever it is, never takes memory away from another tenant.

Each test attacks through one door, then counts the answers that the victim gets: recalls, and a memory that must become
recallable. No time is asserted; an answer that does not come within SECONDS counts as none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from crewmem_producers.compression import pack
from crewmem_producers.log import Record
from crewmem_producers.names import Scope
from hostile.deployment import SECONDS, Deployment, cloud_event, on_kafka, on_one_machine
from hostile.inputs import BODIES, LONG_TEXTS, MARKS, QUESTIONS, TEXTS
from support.kafka import delete_topics
from support.waiting import until

pytestmark = pytest.mark.timeout(900)
RECALLS = 10


@pytest.fixture(scope="module", params=["up", pytest.param("kafka", marks=pytest.mark.kafka)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp(f"hostile-{request.param}")
    if request.param == "up":
        with on_one_machine(folder) as deployment:
            yield deployment
        return
    namespace = f"hostile{os.getpid()}"
    bootstrap = request.getfixturevalue("kafka")
    with on_kafka(folder, bootstrap=bootstrap, namespace=namespace) as deployment:
        yield deployment
    asyncio.run(delete_topics(bootstrap, namespace))


@pytest.fixture
def answered(deployment: Deployment) -> Iterator[Callable[[], None]]:
    """Call it while, or after, something hostile happened: the victim is served as always."""

    def check() -> None:
        fact = f"Acme's plan number {secrets.randbelow(10**12)} costs 49 dollars"  # hex may differ in letters alone: a repeat
        made = deployment.call(
            "POST", "/v1/memory/remember", key="victim", json={"content": fact, "session": "v", "wait_seconds": 30}
        )
        assert made.status_code in (201, 202), made.text
        answers = [
            deployment.call("POST", "/v1/memory/recall", key="victim", json={"q": "what does Acme's plan cost", "session": "v"})
            for _ in range(RECALLS)
        ]
        assert [answer.status_code for answer in answers] == [200] * RECALLS
        until(lambda: fact in recalled(deployment, fact), SECONDS)

    yield check


def recalled(deployment: Deployment, q: str) -> list[str]:
    answer = deployment.call("POST", "/v1/memory/recall", key="victim", json={"q": q, "session": "v", "top_k": 100})
    assert answer.status_code == 200, answer.text
    return [memory["content"] for memory in answer.json()["memories"]]


def sent(call: Callable[[], httpx.Response]) -> int | None:
    """The status of the attacker's call; None where the service hung up, or the attacker did."""
    with contextlib.suppress(httpx.HTTPError):
        return call().status_code
    return None


def test_texts_that_are_remembered(deployment: Deployment, answered: Callable[[], None]) -> None:
    for text in TEXTS.values():
        body = {"content": text, "session": "s", "wait_seconds": 0}
        status = sent(lambda body=body: deployment.call("POST", "/v1/memory/remember", key="writer", json=body))  # type: ignore[misc]
        assert status in (201, 202, 400)
    answered()


def test_texts_in_a_batch_of_events(deployment: Deployment, answered: Callable[[], None]) -> None:
    assert deployment.events(*({"content": text} for text in TEXTS.values())).status_code == 200
    answered()


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_long_output_of_a_kickoff(deployment: Deployment, answered: Callable[[], None], name: str) -> None:
    text = LONG_TEXTS[name]
    body = {"raw": text, "tasks": [{"index": 0, "key": "k", "agent_role": "Researcher", "raw": text}]}
    if len(text) > 1_000_000:
        body["tasks"] = []
    assert deployment.events(body, kind="crewmem.kickoff.completed").status_code in (200, 413)
    answered()


@pytest.mark.parametrize("name", BODIES)
def test_an_event_over_the_limits_is_refused_alone(deployment: Deployment, answered: Callable[[], None], name: str) -> None:
    kind, body = BODIES[name]
    batch = [
        cloud_event("crewmem.memory.remembered", {"content": "a harmless neighbour"}),
        cloud_event(kind, body),
    ]
    answer = deployment.call(
        "POST", "/v1/events", key="writer", content=json.dumps(batch),
        headers={"Content-Type": "application/cloudevents-batch+json"},
    )  # fmt: skip
    if answer.status_code == 200:
        neighbour, hostile = answer.json()["results"]
        assert neighbour["status"] == "accepted" and hostile["status"] == "refused", hostile
    else:
        assert answer.status_code in (400, 413), answer.text
    answered()


@pytest.mark.parametrize("name", BODIES)
def test_a_record_over_the_limits_straight_onto_the_log(
    deployment: Deployment, answered: Callable[[], None], name: str
) -> None:
    """It is a dead letter, and the record behind it gets its outcome."""
    kind, body = BODIES[name]
    deployment.append([raw_record(kind, json.dumps(body).encode())])
    answered()


def test_a_bomb_and_garbage_straight_onto_the_log(deployment: Deployment, answered: Callable[[], None]) -> None:
    kind = "crewmem.memory.remembered"
    bodies = [
        b'{"content": "' + b"a" * (300 * 1024 * 1024) + b'"}',
        b"[" * 1_000_000,
        b'{"content": ' + b"9" * 1_000_000 + b"}",
        b"",
    ]
    deployment.append([raw_record(kind, body) for body in bodies])
    long_header = Record(
        key=b"attacker/" + b"0" * 32, value=b"x", headers=(("ce_id", b"x" * 500_000), ("ce_type", b"\xff" * 500_000))
    )
    deployment.append([long_header])
    answered()


def raw_record(kind: str, body: bytes) -> Record:
    event = cloud_event(kind, {})
    headers = {
        "ce_id": event["id"], "ce_type": kind, "ce_source": "hostile", "ce_specversion": "1.0", "ce_time": event["time"],
        "content-type": "application/json", "content-encoding": "zstd",
    }  # fmt: skip
    return Record(
        key=Scope.of("attacker", "s").key.encode(),
        value=pack(body),
        headers=tuple((name, value.encode()) for name, value in headers.items()),
    )


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_with_a_key_that_only_reads(deployment: Deployment, answered: Callable[[], None], name: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = [
            pool.submit(sent, lambda: deployment.call("POST", "/v1/memory/recall", key="reader", json=QUESTIONS[name]))
            for _ in range(16)
        ]
        answered()
        assert {status.result() for status in statuses} <= {200, 400, 403, 413, 429, 503, None}


def test_a_question_of_marks_in_the_query_string(deployment: Deployment, answered: Callable[[], None]) -> None:
    for path in ("/v1/memory/recall", "/v1/memory/list"):
        sent(lambda path=path: deployment.call("GET", path, key="reader", params={"q": "x", "session": MARKS * 3_000}))  # type: ignore[misc]
    sent(lambda: deployment.call("DELETE", "/v1/memory/forget/" + "%CC%81%CC%96" * 3_000, key="writer"))
    answered()


def test_callers_that_hang_up(deployment: Deployment, answered: Callable[[], None]) -> None:
    """256 at a time ask and go away; what they asked is not computed for nobody."""
    stopped = threading.Event()

    asked = {"q": "x " * 5_000}
    headers = {"Authorization": f"Bearer {deployment.keys['reader']}"}

    def hang_up() -> None:
        with httpx.Client(timeout=0.3, trust_env=False, headers=headers) as client:
            while not stopped.is_set():
                sent(lambda: client.post(f"{deployment.url}/v1/memory/recall", json=asked))

    with ThreadPoolExecutor(64) as pool:
        for _ in range(64):
            pool.submit(hang_up)
        try:
            answered()
        finally:
            stopped.set()


def test_thousands_of_events_of_one_tenant(deployment: Deployment, answered: Callable[[], None]) -> None:
    """The attacker sends batches of 500 as fast as it can: the victim's memory does not wait behind all of them."""
    stopped = threading.Event()
    counts = {"accepted": 0, "answers": 0}

    def flood(number: int) -> None:
        while not stopped.is_set():
            bodies = [{"content": f"flood {number} {n} {os.urandom(8).hex()} "} for n in range(500)]
            with contextlib.suppress(httpx.HTTPError):
                answer = deployment.events(*bodies)
                counts["answers"] += 1
                if answer.status_code == 200:
                    counts["accepted"] += sum(one["status"] == "accepted" for one in answer.json()["results"])
                elif answer.status_code in (429, 503):
                    assert int(answer.headers["Retry-After"]) >= 1

    with ThreadPoolExecutor(4) as pool:
        floods = [pool.submit(flood, number) for number in range(4)]
        try:
            until(lambda: counts["answers"] >= 20, SECONDS)
            answered()
        finally:
            stopped.set()
        for one in floods:
            one.result()
    assert counts["accepted"] > 0


def test_heads_without_an_end_and_bodies_without_a_key(deployment: Deployment, answered: Callable[[], None]) -> None:
    host, port = deployment.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(100)]
    for one in slow:
        one.sendall(b"GET /v1/memory/recall HTTP/1.1\r\nHost: x\r\nX-A: ")
    endless = socket.create_connection((host, int(port)), timeout=30)
    endless.sendall(b"GET / HTTP/1.1\r\nX-A: ")
    written = 0
    with contextlib.suppress(OSError):
        while written < 50_000_000:
            written += endless.send(b"a" * 65_536)
    assert written < 50_000_000, "the service read a header of 50 MB"
    answered()
    for path in ("/v1/events", "/v1/memory/remember"):
        body = iter([b"a" * 1_000_000] * 64)
        with contextlib.suppress(httpx.HTTPError):
            assert httpx.post(deployment.url + path, content=body, timeout=SECONDS, trust_env=False).status_code in (
                401,
                413,
                429,
            )
    answered()
    for one in (*slow, endless):
        one.close()


def test_a_key_with_many_stars_is_matched_in_linear_time(deployment: Deployment) -> None:
    made = deployment.command(
        "keys", "create", "--name", "stars", "--tenant", "attacker", "--session", "*a*a*a*a*a*b:read", "--json"
    )
    deployment.keys["stars"] = json.loads(made)["key"]
    until(
        lambda: deployment.call("GET", "/v1/memory/list", key="stars", params={"session": "aaaaaab"}).status_code == 200,
        SECONDS,
    )
    assert deployment.call("GET", "/v1/memory/list", key="stars", params={"session": "a" * 200}).status_code == 403


def test_every_record_has_one_outcome_at_the_end(deployment: Deployment) -> None:
    """The account of all that was attacked with closes: nothing is waited for, nothing is doubled, nothing is lost."""

    def all_decided() -> bool:
        [generation] = json.loads(deployment.command("stats", "--json"))
        return all(partition["lag"] == 0 for partition in generation["partitions"])

    until(all_decided, 600)
    deployment.command("accounting", "--verify")
