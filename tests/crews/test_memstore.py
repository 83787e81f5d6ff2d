"""Memstore: what it sends, what it does in an outage, what it raises."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import crewmem
import pytest
from crewmem import Memstore, connection
from crewmem.errors import (
    InvalidName,
    KeyRefused,
    NotFound,
    NotFresh,
    RequestRefused,
    RightRefused,
    ServiceUnavailable,
    SettingsError,
)
from crewmem.recalling import RecallArguments
from crewmem.remembering import RememberArguments
from opentelemetry import trace
from support.fake_service import KEY, FakeService, memory
from support.waiting import until


def test_recall_gives_a_list_of_dicts_with_content_and_score(service: FakeService) -> None:
    service.memories["p"] = [memory("Acme has no API docs", score=0.9)]
    found = Memstore(api_key=KEY).recall("what about Acme", session="p")
    assert [(m["content"], m["score"]) for m in found] == [("Acme has no API docs", 0.9)]


def test_recall_waits_for_what_is_on_the_log_unless_told_otherwise(service: FakeService) -> None:
    Memstore().recall("x")
    Memstore().recall("x", after=None, session=["a", "b"], top_k=3, kind="finding")
    assert service.recalls() == [
        {"q": "x", "session": ["shared"], "after": "latest"},
        {"q": "x", "session": ["a", "b"], "top_k": 3, "kind": "finding"},
    ]


def test_remember_sends_what_it_is_given_and_nothing_else(service: FakeService) -> None:
    answer = Memstore().remember("a fact", session=" p ", ttl=60, metadata={"a": 1}, key="k")
    assert service.remembered() == [{"content": "a fact", "session": "p", "ttl": 60.0, "metadata": {"a": 1}, "key": "k"}]
    assert answer["id"] == "0-1"


def test_the_session_comes_from_the_block_or_the_setting(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_SESSION", "setting")
    store = Memstore()
    with crewmem.session("block"):
        store.remember("a")
        asyncio.run(store.aremember("b"))
    store.remember("c")
    assert [body["session"] for body in service.remembered()] == ["block", "block", "setting"]


def test_content_over_the_limit_is_cut_and_warned_about(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    Memstore().remember("Acme charges 49 dollars. " * 1000)
    assert len(service.remembered()[0]["content"]) <= 10_000
    assert "cut" in caplog.text


def test_an_answer_from_a_view_that_is_behind_the_log_is_a_warning(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.memories["p"] = [memory("Acme")]
    Memstore().recall("x", "p")
    assert not caplog.records
    service.behind = True
    assert [found["content"] for found in Memstore().recall("x", "p")] == ["Acme"]
    assert "memory is behind the log" in caplog.text


def test_the_time_of_a_memory_can_be_given_and_is_kept_in_an_outage(service: FakeService) -> None:
    store = Memstore()
    store.remember("a", created_at=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert service.remembered() == [{"content": "a", "session": "shared", "created_at": "2026-03-01T10:00:00Z"}]
    service.stop()
    assert store.remember("b", created_at=datetime(2026, 3, 1, 12))["created_at"] == "2026-03-01T12:00:00+00:00"
    service.start()
    until(lambda: service.events)
    assert service.events[0]["time"].startswith("2026-03-01T12:00:00")


def test_a_recall_can_be_explained_or_come_as_a_block_of_text(service: FakeService) -> None:
    service.memories["p"] = [memory("Acme", explain={"rank": 0.5})]
    store = Memstore()
    assert store.recall("x", "p", explain=True)[0]["explain"] == {"rank": 0.5}
    assert store.context("x", "p", kind="finding") == "the block"
    assert asyncio.run(store.acontext("x", "p", max_tokens=50, after=None)) == "the block"
    asked = [call | {"q": "", "session": []} for call in service.recalls()]
    assert asked == [
        {"q": "", "session": [], "after": "latest", "explain": True},
        {"q": "", "session": [], "after": "latest", "kind": "finding", "format": "context", "max_tokens": 600},
        {"q": "", "session": [], "format": "context", "max_tokens": 50},
    ]
    service.stop()
    assert store.context("x", "p") == ""


@pytest.mark.parametrize(("method", "fields"), [(Memstore.remember, RememberArguments), (Memstore.recall, RecallArguments)])
def test_the_async_methods_take_what_the_others_take(method: Callable[..., Any], fields: type) -> None:
    named = {name for name, one in inspect.signature(method).parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert named == set(fields.__annotations__)


def test_in_an_outage_recall_gives_nothing_and_warns(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    store = Memstore()
    service.stop()
    assert store.recall("x") == []
    assert [record.levelno for record in caplog.records if record.name == "crewmem"] == [logging.WARNING]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_service_that_cannot_answer_is_an_outage(status: int, service: FakeService) -> None:
    service.fail = (status, "unavailable")
    assert Memstore().recall("x") == []
    assert Memstore().remember("x")["queued"] is True


def test_what_is_remembered_in_an_outage_arrives_later(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    store = Memstore()
    service.stop()
    answer = store.remember("a fact", session="p", metadata={"a": 1})
    assert answer["queued"] is True and answer["content"] == "a fact" and answer["session"] == "p"
    assert "outbox" in caplog.text
    service.start()
    until(lambda: [event["id"] for event in service.events] == [answer["id"]])
    assert service.events[0]["data"] | {"content": "a fact", "session": "p", "metadata": {"a": 1}} == service.events[0]["data"]


def test_what_comes_after_an_outage_does_not_overtake_what_waits(service: FakeService) -> None:
    store = Memstore(flush_seconds=60)
    service.stop()
    store.remember("first", key="price")
    service.start()
    assert "queued" not in store.remember("second", key="price")
    assert [event["data"]["content"] for event in service.events] == ["first"]
    assert [body["content"] for body in service.remembered()] == ["second"]


def test_what_an_earlier_process_left_in_the_outbox_is_sent_by_the_next_that_asks_or_says_anything(
    service: FakeService,
) -> None:
    for use in (lambda store: store.recall("x"), lambda store: store.remember("b")):
        before = len(service.events)
        service.stop()
        Memstore().remember("a")
        connection.close_all()  # the process that could not send it ends
        service.start()
        use(Memstore())
        until(lambda before=before: len(service.events) > before)


def test_strict_raises_in_an_outage_and_queues_nothing(service: FakeService) -> None:
    store = Memstore(strict=True)
    service.stop()
    for call in (lambda: store.recall("x"), lambda: store.remember("x")):
        with pytest.raises(ServiceUnavailable):
            call()
    service.start()
    assert store.recall("x") == [] and service.events == []


def test_list_and_forget_raise_in_an_outage(service: FakeService) -> None:
    store = Memstore()
    service.stop()
    for call in (lambda: store.list(), lambda: store.forget("0-1")):
        with pytest.raises(ServiceUnavailable):
            call()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "invalid_content", RequestRefused), (401, "invalid_api_key", KeyRefused), (404, "not_found", NotFound),
        (403, "forbidden_session", RightRefused), (413, "too_large", RequestRefused), (504, "not_fresh", NotFresh),
    ],
)  # fmt: skip
def test_what_the_service_refuses_is_raised(status: int, code: str, error: type[Exception], service: FakeService) -> None:
    service.fail = (status, code)
    with pytest.raises(error, match=code):
        Memstore().recall("x")
    with pytest.raises(error, match=code):
        Memstore().remember("x")
    assert service.events == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": ""}, {"content": "x", "ttl": -1}, {"content": "x", "ttl": 1e12}, {"content": "x", "importance": 2},
        {"content": "x", "metadata": {"a": object()}}, {"content": "x", "metadata": ["a"]}, {"content": "x", "kind": "No Kind"},
        {"content": "x", "key": "k" * 5000}, {"content": "x", "speaker": "a\x00"},
        {"content": "x", "created_at": datetime(3500, 1, 1)},
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_also_in_an_outage(wrong: dict[str, Any], service: FakeService) -> None:
    service.stop()
    with pytest.raises(RequestRefused):
        Memstore().remember(**wrong)


def test_a_wrong_session_and_an_empty_query_are_refused(service: FakeService) -> None:
    with pytest.raises(InvalidName):
        Memstore().remember("x", session="a\x00b")
    with pytest.raises(RequestRefused):
        Memstore().remember("x", session="*")
    with pytest.raises(RequestRefused):
        Memstore().recall("  ")


def test_an_answer_that_is_not_the_services_is_an_outage(service: FakeService) -> None:
    service.answer = lambda method, path, body: (200, ["not an object"])  # type: ignore[method-assign]
    assert Memstore().recall("x") == []


@pytest.mark.parametrize("key", ["am_live_with a space", "am_live_é", "am_live_\n"])
def test_a_key_that_no_header_can_hold_is_a_wrong_setting(key: str) -> None:
    with pytest.raises(SettingsError):
        Memstore(api_key=key)


def test_no_key_at_all_is_told_with_the_ways_to_give_one() -> None:
    with pytest.raises(SettingsError, match="CREWMEM_API_KEY"):
        Memstore()
    with pytest.raises(SettingsError, match="BASE_URL"):
        Memstore(api_key=KEY, base_url="not an address")


def test_the_async_methods_do_the_same(service: FakeService) -> None:
    service.memories["p"] = [memory("Acme")]
    store = Memstore()

    async def calls() -> None:
        assert (await store.arecall("x", session="p"))[0]["content"] == "Acme"
        assert (await store.aremember("y", session="p"))["id"] == "0-1"
        assert await store.alist() == {"memories": [], "total": 0}
        with pytest.raises(NotFound):
            await store.aforget("0-9")

    asyncio.run(calls())
    store.close()
    assert store.list()["total"] == 0, "it can be used again"


def test_clients_of_one_service_share_its_connection_and_outbox(service: FakeService) -> None:
    threads = threading.active_count()
    service.fail = (503, "unavailable")
    for number in range(5):
        Memstore(top_k=number + 1).remember("x")
    assert threading.active_count() <= threads + 2, "one relay, whatever the number of clients"


def test_half_a_character_is_refused_and_a_wrong_address_is_a_wrong_setting(service: FakeService) -> None:
    with pytest.raises(RequestRefused, match="half a character") as caught:
        Memstore().recall("\ud800")
    with pytest.raises(RequestRefused):
        Memstore().remember("\ud800")
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)
    with pytest.raises(SettingsError, match="no address"):
        Memstore(base_url="http://[::1")


def test_the_trace_of_the_program_goes_on_in_the_call_and_in_what_waits_in_the_outbox(service: FakeService) -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(7, 9, is_remote=False, trace_flags=trace.TraceFlags(1)))
    store = Memstore()
    with trace.use_span(span):
        store.remember("a")
        service.stop()
        store.remember("b")
    service.start()
    until(lambda: service.events)
    assert service.traces == [service.events[0]["traceparent"]] == [f"00-{7:032x}-{9:016x}-01"]


def test_a_list_of_several_sessions_asks_for_all_of_them(service: FakeService) -> None:
    Memstore().list(["a", "b"], limit=3)
    assert [path for _, path, _ in service.calls] == ["/v1/memory/list?session=a&session=b&limit=3"]
