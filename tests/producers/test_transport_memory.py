from collections.abc import Sequence

import pytest
from crewmem_producers.errors import ServiceUnavailable
from crewmem_producers.events import Event
from crewmem_producers.transport import Refused
from crewmem_producers.transport_memory import MemoryTransport
from producers.conformance_transport import TransportConformance
from support.events import remembered


class MemoryDestination:
    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    async def events(self) -> Sequence[Event]:
        return self._transport.events

    async def reports(self) -> Sequence[str]:
        return [str(report) for report in self._transport.reports]


class TestMemoryTransport(TransportConformance):
    @pytest.fixture
    def transport(self) -> MemoryTransport:
        return MemoryTransport()

    @pytest.fixture
    def destination(self, transport: MemoryTransport) -> MemoryDestination:
        return MemoryDestination(transport)


async def test_it_fails_and_refuses_when_told() -> None:
    memory = MemoryTransport()
    event = remembered("x")
    memory.refuse.add(event.id)
    assert [type(fate) for fate in await memory.send([event])] == [Refused]
    memory.failure = ServiceUnavailable("away")
    with pytest.raises(ServiceUnavailable):
        await memory.send([event])
    assert memory.events == []
