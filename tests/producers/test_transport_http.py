from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from crewmem_producers.cloudevents import from_json
from crewmem_producers.codec import decode
from crewmem_producers.errors import ServiceUnavailable, SettingsError, TransportRefused
from crewmem_producers.events import Event, utc_now
from crewmem_producers.log import LoggedRecord
from crewmem_producers.transport import Delivered, Refused
from crewmem_producers.transport_http import HttpTransport
from crewmem_store.service.server import served
from producers.conformance_transport import TransportConformance
from support.dripping import HEAD, dripping
from support.events import remembered
from support.events_server import KEY, EventsServer
from support.service import Stack, running_stack


class ServerDestination:
    def __init__(self, server: EventsServer) -> None:
        self._server = server

    async def events(self) -> Sequence[Event]:
        return [from_json(event, tenant="default") for event in self._server.accepted]

    async def reports(self) -> Sequence[str]:
        return self._server.reports


@pytest.fixture
def server() -> Iterator[EventsServer]:
    server = EventsServer().start()
    yield server
    server.stop()


@pytest.fixture
async def transport(server: EventsServer) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(base_url=server.base_url, api_key=lambda: KEY)
    yield transport
    await transport.close()


class TestHttpTransport(TransportConformance):
    @pytest.fixture
    def destination(self, server: EventsServer) -> ServerDestination:
        return ServerDestination(server)


class ServiceDestination:
    """The recall service itself: what arrived is read from its log, its reports from its registry."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def events(self) -> Sequence[Event]:
        log = self._stack.log
        return [decode(record) for partition, end in (await log.end()).items() for record in await self._read(partition, end)]

    async def _read(self, partition: int, end: int) -> list[LoggedRecord]:
        records: list[LoggedRecord] = []
        while len(records) < end:
            records += await self._stack.log.read(partition, len(records))
        return records

    async def reports(self) -> Sequence[str]:
        return [str(value) for value in self._stack.registry.items("producer/").values()]


class TestAgainstTheService(TransportConformance):
    @pytest.fixture
    async def stack(self, tmp_path: Path) -> AsyncIterator[tuple[Stack, str]]:
        settings = {"ingest_backlog_seconds": 600}  # no consumer runs here
        async with running_stack(tmp_path, **settings) as stack, served(stack.app, host="127.0.0.1", port=0) as port:
            stack.clock.now = utc_now()  # what lies a day ahead of the service's clock would be clamped to it
            yield stack, f"http://127.0.0.1:{port}"

    @pytest.fixture
    async def transport(self, stack: tuple[Stack, str]) -> AsyncIterator[HttpTransport]:
        key = await stack[0].key(tenant="default")
        transport = HttpTransport(base_url=stack[1], api_key=lambda: key)
        yield transport
        await transport.close()

    @pytest.fixture
    def destination(self, stack: tuple[Stack, str]) -> ServiceDestination:
        return ServiceDestination(stack[0])

    async def test_a_key_that_is_unknown_is_a_refused_caller(self, stack: tuple[Stack, str]) -> None:
        transport = HttpTransport(base_url=stack[1], api_key=lambda: "am_live_" + "0" * 32)
        with pytest.raises(TransportRefused, match="401"):
            await transport.send([remembered("x")])
        await transport.close()

    async def test_a_session_that_the_key_may_not_use_refuses_that_event_only(self, stack: tuple[Stack, str]) -> None:
        key = await stack[0].key(tenant="default", sessions=["user-*"])
        transport = HttpTransport(base_url=stack[1], api_key=lambda: key)
        fates = await transport.send([remembered("x", session="user-1"), remembered("y", session="other")])
        assert [type(fate) for fate in fates] == [Delivered, Refused]
        await transport.close()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_answers_that_pass_are_to_be_tried_again(server: EventsServer, transport: HttpTransport, status: int) -> None:
    server.answer = (status, {"error": "unavailable", "message": "the log"}, {"retry-after": "7"})
    with pytest.raises(ServiceUnavailable, match=f"{status}: unavailable: the log") as caught:
        await transport.send([remembered("x")])
    assert caught.value.retry_after_seconds == 7


async def test_a_service_that_is_away_is_to_be_tried_again(server: EventsServer, transport: HttpTransport) -> None:
    server.stop()
    with pytest.raises(ServiceUnavailable, match="does not answer") as caught:
        await transport.send([remembered("x")])
    assert caught.value.__cause__ is not None


async def test_an_answer_that_never_comes_is_to_be_tried_again(server: EventsServer, transport: HttpTransport) -> None:
    server.drop_answers = 1
    with pytest.raises(ServiceUnavailable):
        await transport.send([remembered("x")])
    assert [type(fate) for fate in await transport.send([remembered("x")])] == [Delivered]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405])
async def test_a_refused_key_or_address_is_told_from_a_refused_event(
    server: EventsServer, transport: HttpTransport, status: int
) -> None:
    server.answer = (status, {"error": "invalid_api_key", "message": "no such key"}, {})
    with pytest.raises(TransportRefused, match="CREWMEM_API_KEY and CREWMEM_BASE_URL"):
        await transport.send([remembered("x")])


@pytest.mark.parametrize(
    ("status", "answer"),
    [(200, "<html>welcome to the hotel</html>"), (200, {"results": []}), (200, {"results": [{"status": "accepted"}]}),
     (200, {"results": [{"status": "accepted", "token": "x"}]}), (200, []), (400, "plain HTTP request sent to HTTPS port")],
)  # fmt: skip
async def test_what_is_no_crewmem_service_takes_no_event_away(
    server: EventsServer, transport: HttpTransport, status: int, answer: object
) -> None:
    server.answer = (status, answer, {})
    with pytest.raises(TransportRefused):
        await transport.send([remembered("x")])


async def test_a_new_key_is_found_after_a_refusal(server: EventsServer) -> None:
    keys = iter(["old", KEY])
    transport = HttpTransport(base_url=server.base_url, api_key=lambda: next(keys))
    with pytest.raises(TransportRefused):
        await transport.send([remembered("x")])
    assert [type(fate) for fate in await transport.send([remembered("x")])] == [Delivered]
    await transport.close()


async def test_a_refused_event_leaves_the_others_of_its_batch(server: EventsServer, transport: HttpTransport) -> None:
    events = [remembered(str(number)) for number in range(3)]
    server.refuse.add(events[1].id)
    fates = await transport.send(events)
    assert [type(fate) for fate in fates] == [Delivered, Refused, Delivered]
    assert fates[1] == Refused("no thanks")


async def test_the_one_event_that_a_whole_batch_was_refused_for_is_found(
    server: EventsServer, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = server.take

    def take(body: bytes) -> tuple[int, object, dict[str, str]]:
        return (413, "Request Entity Too Large", {}) if b"the big one" in body else taken(body)

    monkeypatch.setattr(server, "take", take)
    contents = ["a", "b", "the big one", "c", "d"]
    fates = await transport.send([remembered(content) for content in contents])
    assert [isinstance(fate, Refused) for fate in fates] == [False, False, True, False, False]
    assert server.contents() == ["a", "b", "c", "d"]


async def test_no_proxy_of_the_environment_sees_what_stays_on_this_machine(
    server: EventsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    transport = HttpTransport(base_url=server.base_url, api_key=lambda: KEY)
    assert [type(fate) for fate in await transport.send([remembered("x")])] == [Delivered]
    await transport.close()


async def test_a_key_that_cannot_be_read_is_a_refused_caller_and_not_an_outage(server: EventsServer) -> None:
    def unreadable() -> str:
        raise SettingsError("the key cannot be read")

    transport = HttpTransport(base_url=server.base_url, api_key=unreadable)
    with pytest.raises(TransportRefused, match="cannot be read"):
        await transport.send([remembered("x")])
    await transport.close()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nx-slow: ", HEAD], ids=["headers", "body"])
async def test_an_answer_that_comes_a_byte_at_a_time_does_not_hold_the_relay(head: bytes) -> None:
    with dripping(b"a" * 1_000_000, head=head) as server:
        transport = HttpTransport(base_url=server.base_url, api_key=lambda: KEY, answer_seconds=0.3)
        with pytest.raises(ServiceUnavailable, match="0\\.3 s"):
            await transport.send([remembered("a fact")])
        assert server.asked == 1 and server.answering() == 0
        await transport.close()


async def test_an_answer_without_end_is_not_kept() -> None:
    with dripping(b"a" * 200_000_000, size=65_536, pause_seconds=0) as server:
        transport = HttpTransport(base_url=server.base_url, api_key=lambda: KEY)
        with pytest.raises(ServiceUnavailable, match="longer than"):
            await transport.send([remembered("a fact")])
        await transport.close()
