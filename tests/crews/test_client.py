"""A call of the client ends in its time and within its size, whatever the service does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from crewmem import Memstore, client
from crewmem.client import Client
from crewmem_producers.errors import ServiceUnavailable
from crewmem_producers.settings import CrewSettings, load
from support.dripping import HEAD, dripping
from support.fake_service import KEY, FakeService


def made(base_url: str, seconds: float = 0.3) -> Client:
    return Client(load(CrewSettings, base_url=base_url, api_key=KEY, recall_timeout_seconds=seconds))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nx-slow: ", HEAD], ids=["status line", "headers", "body"])
def test_an_answer_that_comes_a_byte_at_a_time_is_given_up_when_the_time_is_over(head: bytes) -> None:
    with dripping(b"H" + b"a" * 1_000_000, head=head) as service:
        http = made(service.base_url)
        with pytest.raises(ServiceUnavailable, match="0\\.3 s"):
            http.call("GET", "/health/ready")
        assert service.asked == 1 and service.answering() == 0
        http.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda ms: ms.remember("a fact", "s", wait_seconds=0),
        lambda ms: ms.recall("what", "s", wait_seconds=0),
        lambda ms: ms.context("what", "s", wait_seconds=0),
        lambda ms: ms.list("s"),
    ],
    ids=["remember", "recall", "context", "list"],
)
def test_every_call_of_a_memstore_is_given_up_so(use: Callable[[Memstore], Any]) -> None:
    with dripping(b"a" * 1_000_000) as service, pytest.raises(ServiceUnavailable):
        use(Memstore(KEY, base_url=service.base_url, recall_timeout_seconds=0.3, strict=True))


def test_a_service_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        http = made(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ServiceUnavailable):
            http.call("GET", "/health/ready")
        http.close()


def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 100_000)
    with dripping(b"a" * 200_000_000, size=65_536, pause_seconds=0) as service:
        http = made(service.base_url, seconds=120)
        with pytest.raises(ServiceUnavailable, match="longer than 100,000 bytes"):
            http.call("GET", "/health/ready")
        assert service.answering() == 0
        http.close()


def test_one_slow_answer_holds_up_no_other_call() -> None:
    with dripping(b"a" * 1_000_000) as slow:
        http = made(slow.base_url, seconds=0.3)
        failed: list[ServiceUnavailable] = []

        def call() -> None:
            try:
                http.call("GET", "/health/ready")
            except ServiceUnavailable as error:
                failed.append(error)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(failed) == 8 and slow.asked == 8
        http.close()


def test_a_closed_client_opens_again_and_leaves_no_thread_behind(service: FakeService) -> None:
    http = made(service.base_url, seconds=30)
    for _ in range(2):
        assert http.call("GET", "/v1/memory/list")["total"] == 0
        http.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "crewmem-client"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_connections_of_its_own(service: FakeService) -> None:
    http = made(service.base_url, seconds=30)
    http.call("GET", "/v1/memory/list")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = http.call("GET", "/v1/memory/list")["total"]
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert http.call("GET", "/v1/memory/list")["total"] == 0
    http.close()
