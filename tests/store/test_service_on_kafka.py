"""The service over the log and registry of Apache Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, to_json
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, events_topic
from crewmem_store import keys
from support.service import NOON, Stack, refused_with, running_stack

pytestmark = pytest.mark.kafka


def settings_of(kafka: str, namespace: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=3)


@pytest.fixture
async def stack(tmp_path: Path, kafka: str, namespace: str) -> AsyncIterator[Stack]:
    settings = settings_of(kafka, namespace)
    await ensure_topics(settings)
    async with running_stack(tmp_path, log=open_log(settings), registry=open_registry(settings)) as running:
        yield running


async def test_remember_recall_and_forget_go_by_the_topic(stack: Stack) -> None:
    key = await stack.key()
    made = await stack.remember("Acme lacks API docs", key=key, session="project_alpha")
    await stack.remember("Blue is the door", key=key, session="project_alpha")
    [first, _] = await stack.recall("acme docs", key=key, session="project_alpha", after="latest", strict=True)
    assert first["id"] == made["id"]
    async with stack.consuming():
        response = await stack.call("DELETE", f"/v1/memory/forget/{made['id']}?wait_seconds=20", key=key)
    assert response.json() == {"deleted": True, "id": made["id"]}
    assert len(await stack.recall("acme docs", key=key, session="project_alpha")) == 1


async def test_a_batch_over_many_sessions_is_acknowledged_with_tokens_that_hold(stack: Stack) -> None:
    key = await stack.key()
    batch = [
        to_json(Event(body=MemoryRemembered(content=f"acme {n}"), scope=Scope.of("x", f"s{n % 7}"), time=NOON))
        for n in range(40)
    ]
    headers = {"content-type": BATCH_CONTENT_TYPE}
    answer = await stack.call("POST", "/v1/events", key=key, content=json.dumps(batch).encode(), headers=headers)
    token = ",".join(result["token"] for result in answer.json()["results"])
    assert len({result["token"].split(".")[1] for result in answer.json()["results"]}) > 1
    await stack.consume()
    asked = {"q": "acme", "session": "*", "top_k": 100, "after": token, "strict": True, "wait_seconds": 20}
    assert (await stack.call("POST", "/v1/memory/recall", key=key, json=asked)).json()["count"] == 40


async def test_a_revoked_key_is_refused(stack: Stack) -> None:
    key = await stack.key(name="gone")
    await keys.revoke(stack.registry, "gone")
    refused_with(await stack.call("GET", "/v1/memory/list", key=key), 401, "invalid_api_key")


async def test_a_topic_that_was_deleted_and_made_anew_is_never_answered_as_fresh(
    stack: Stack, kafka: str, namespace: str
) -> None:
    key = await stack.key()
    for content in ("Acme lacks API docs", "Acme pays late", "Acme likes blue"):
        await stack.remember(content, key=key, session="s")
    await make_anew(settings_of(kafka, namespace))
    body = {"content": "Acme moved", "session": "s", "wait_seconds": 0}
    made = await stack.call("POST", "/v1/memory/remember", key=key, json=body)
    assert made.status_code == 202, made.text
    for after in ("latest", made.json()["token"]):
        asked = {"q": "acme", "session": "s", "after": after, "wait_seconds": 1}
        answer = await stack.call("POST", "/v1/memory/recall", key=key, json=asked)
        assert answer.json()["fresh"] is False and answer.json()["count"] == 3
        refused_with(await stack.call("POST", "/v1/memory/recall", key=key, json={**asked, "strict": True}), 504, "not_fresh")
    assert "crewmem replay" in (await stack.call("GET", "/health/ready", key=None)).json()["checks"]["log"]


async def make_anew(settings: KafkaSettings) -> None:
    topic = events_topic(settings.namespace)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        async with asyncio.timeout(60):
            while topic in await admin.list_topics():
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
    await ensure_topics(settings)
