"""The docker compose stack for real: crews outside, a consumer and a broker that are stopped in the middle."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]


def running(*files: str, settings: dict[str, str] | None = None) -> Iterator[Stack]:
    stack = Stack(*files, settings=settings)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture
def stack() -> Iterator[Stack]:
    yield from running()


@pytest.fixture
def stack_on_s3() -> Iterator[Stack]:
    yield from running("docker-compose.yml", "docker-compose.s3.yml", settings={"CREWMEM_S3_SECRET_KEY": "secret-of-the-test"})


def test_crews_outside_share_memory_while_consumer_and_broker_are_restarted(stack: Stack, tmp_path: Path) -> None:
    first = json.loads(stack.crew("launch", "research", home=tmp_path / "http", kafka=False))
    assert first["memories"] == 0 and first["published"]
    second = json.loads(stack.crew("launch", "plan", home=tmp_path / "kafka", kafka=True))
    assert second["memories"] > 0 and second["published"]

    stack.compose("up", "--detach", "--wait", "--scale", "consumer=3")
    expected = [f"Fact number {number} of the press run" for number in range(60)]
    stopped = threading.Event()

    def restarts() -> None:
        stack.compose("kill", "--signal", "SIGKILL", "consumer")
        stack.compose("up", "--detach", "--scale", "consumer=3")
        stack.compose("kill", "--signal", "SIGKILL", "kafka")
        stack.compose("up", "--detach", "--wait", "--scale", "consumer=3")
        stopped.set()

    thread = threading.Thread(target=restarts)
    thread.start()
    script = tmp_path / "remember.py"
    script.write_text(REMEMBER)
    stack.script(script, json.dumps(expected), home=tmp_path / "http")
    thread.join(timeout=600)
    assert stopped.is_set()

    stack.script(script, json.dumps(["The last fact of the press run"]), home=tmp_path / "http")
    stack.call("GET", "/v1/memory/recall", params={"q": "fact", "session": "press", "after": "latest", "wait_seconds": 30})
    assert sorted(stack.contents("press")) == sorted([*expected, "The last fact of the press run"])
    assert sum("49 dollars" in content for content in stack.contents("launch")) >= 1

    third = json.loads(stack.crew("launch", "research", home=tmp_path / "kafka", kafka=True))
    assert third["memories"] > 0


def test_the_store_on_object_storage_serves_the_same_crews(stack_on_s3: Stack, tmp_path: Path) -> None:
    stack_on_s3.crew("launch", "research", home=tmp_path / "http", kafka=False)
    assert json.loads(stack_on_s3.crew("launch", "plan", home=tmp_path / "other", kafka=False))["memories"] > 0
    before = sorted(stack_on_s3.contents("launch"))
    stack_on_s3.compose("kill", "--signal", "SIGKILL", "consumer", "recall")
    stack_on_s3.compose("up", "--detach", "--wait")
    assert sorted(stack_on_s3.contents("launch")) == before != []


REMEMBER = """
import json, sys
from crewmem import Memstore
ms = Memstore()
for content in json.loads(sys.argv[1]):
    ms.remember(content, session="press")
ms.close()
"""
